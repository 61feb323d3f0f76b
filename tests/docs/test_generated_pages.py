"""The generated pages are those that the sources give, and every link of the documentation leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "make_docs.py"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
LINK = re.compile(r"\]\(\s*([^()\s]+(?:\([^()\s]*\)[^()\s]*)?)\s*\)|(?:src|href)=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6} (.+?)\s*$", re.MULTILINE)


def make_docs(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run tools/make_docs.py."""
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_generated_pages_are_current() -> None:
    pytest.importorskip("torch", reason="metrics of tasks are read from the tasks themselves")
    done = make_docs("--check")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nRun `make docs` and commit what it writes."


def test_a_stale_page_and_a_page_of_something_gone_are_found_and_mended(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="metrics of tasks are read from the tasks themselves")
    assert make_docs("--docs", str(tmp_path)).returncode == 0
    page, gone, own = tmp_path / "losses" / "kd.md", tmp_path / "losses" / "gone.md", tmp_path / "losses" / "own.md"
    gone.write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    page.write_text("stale", encoding="utf-8")
    own.write_text("# Written by hand", encoding="utf-8")

    checked = make_docs("--docs", str(tmp_path), "--check")
    assert checked.returncode == 1
    assert sorted(checked.stdout.split("\n")[:2]) == ["out of date: losses/gone.md", "out of date: losses/kd.md"]
    assert page.read_text(encoding="utf-8") == "stale", "--check writes nothing"

    assert make_docs("--docs", str(tmp_path)).returncode == 0
    assert page.read_text(encoding="utf-8") != "stale"
    assert not gone.exists()
    assert own.exists()


def without_code(text: str) -> str:
    """A page without what stands in fences and backticks."""
    return CODE.sub("", FENCE.sub("", text))


def links(page: Path) -> Iterator[str]:
    """Targets of the links and images of a page that lead to files of the repository."""
    for found in LINK.finditer(without_code(page.read_text(encoding="utf-8"))):
        target = found.group(1) or found.group(2)
        if not re.match(r"[a-z]+:", target):
            yield unquote(target)


def fragments(page: Path) -> set[str]:
    """The fragments that GitHub gives the headings of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in HEADING.findall(text)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in links(page):
        name, _, fragment = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or not file.is_relative_to(ROOT):
            broken.append(f"{target}: no such file")
        elif fragment and file.suffix == ".md" and fragment not in fragments(file):
            broken.append(f"{target}: no such heading")
    assert not broken, "\n".join(broken)


def test_every_page_of_docs_can_be_reached_from_its_index() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "docs" / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        waiting += [(page.parent / target.partition("#")[0]).resolve() for target in links(page)]
    lost = [page.relative_to(ROOT) for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in seen]
    assert not lost


def test_tables_have_as_many_cells_in_every_line() -> None:
    broken = []
    for page in PAGES:
        width = 0
        for number, line in enumerate(FENCE.sub("", page.read_text(encoding="utf-8")).splitlines(), 1):
            cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
            if cells and width and cells != width:
                broken.append(f"{page.relative_to(ROOT)}, line {number} without code")
            width = cells
    assert not broken
