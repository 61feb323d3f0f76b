"""Write the generated pages of docs/ from the sources they describe; `--check` only says whether they are current.

Recipe keys come from the typed recipe, components from the catalog and the docstrings of what it names, commands from
the help of the command line, recorded runs of published code from the tests of the losses.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from docs_pages import components, losses
from docs_pages.commands import commands_page
from docs_pages.custom import custom_page
from docs_pages.deviations import deviations_page
from docs_pages.families import loss_entries
from docs_pages.fusions import fusion_index, fusion_page
from docs_pages.modalities import modalities_page
from docs_pages.recipe import recipe_page
from docs_pages.terms import policies_page, terms_page
from mmdistill import catalog
from mmdistill.models.fusion.entry import FusionEntry

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTE = "<!-- Written by tools/make_docs.py from the sources; change those, then run `make docs`. -->\n\n"
GENERATED = ("reference", "losses", "fusions", "tasks")
TASKS = (
    "What is predicted. A task brings its head, its loss on the targets and its metrics, and knows nothing about "
    "distillation."
)


def pages() -> Iterator[tuple[Path, str]]:
    """Path below docs/ and text of every generated page."""
    reference = {
        "recipe": recipe_page, "commands": commands_page, "columns": components.columns_page,
        "encoders": components.encoders_page, "training": components.training_page, "terms": terms_page,
        "policies": policies_page, "custom": custom_page, "modalities": modalities_page,
    }  # fmt: skip
    for name, write in reference.items():
        yield Path("reference", f"{name}.md"), write()
    yield Path("losses", "README.md"), losses.index_page()
    yield Path("losses", "deviations.md"), deviations_page()
    yield from ((Path("losses", f"{entry.name}.md"), losses.loss_page(entry)) for entry in loss_entries())
    fusions, tasks = catalog.entries("fusion"), catalog.entries("task")
    yield from ((Path("fusions", f"{entry.name}.md"), fusion_page(cast(FusionEntry, entry))) for entry in fusions)
    yield Path("fusions", "README.md"), fusion_index()
    yield from ((Path("tasks", f"{entry.name}.md"), components.task_page(entry)) for entry in tasks)
    yield Path("tasks", "README.md"), components.index_page("Tasks", TASKS, tasks)


def main() -> int:
    """Write the pages, or with `--check` compare them; the exit status is 1 when one is out of date."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of the pages")
    arguments = parser.parse_args()
    docs: Path = arguments.docs
    texts = {path: NOTE + text for path, text in pages()}
    gone = [path for path in _generated(docs) if path not in texts]
    stale = [path for path, text in texts.items() if not _holds(docs / path, text)]
    if not arguments.check:
        for path in stale:
            (docs / path).parent.mkdir(parents=True, exist_ok=True)
            (docs / path).write_text(texts[path], encoding="utf-8")
        for path in gone:
            (docs / path).unlink()
    for path in [*stale, *gone]:
        print(f"{'out of date' if arguments.check else 'wrote' if path in texts else 'removed'}: {path}")
    return 1 if arguments.check and (stale or gone) else 0


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _generated(docs: Path) -> list[Path]:
    """The pages that an earlier call wrote."""
    written = [path for folder in GENERATED for path in sorted((docs / folder).glob("*.md"))]
    return [path.relative_to(docs) for path in written if path.read_text(encoding="utf-8").startswith(NOTE)]


if __name__ == "__main__":
    sys.exit(main())
