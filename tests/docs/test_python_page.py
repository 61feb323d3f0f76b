"""Every block of Python on docs/python.md runs, in order, in an empty folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str]]:
    """Line (from 1) and code of each fenced block of Python."""
    return [(text[: found.start(1)].count("\n") + 1, found.group(1)) for found in BLOCK.finditer(text)]


def test_the_page_has_its_blocks() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(blocks(text)) == text.count("```python") > 10


@pytest.mark.slow
def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="the page needs mmdistill[train]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMDISTILL_CACHE", str(tmp_path / "cache"))
    namespace: dict[str, object] = {"__name__": "page"}
    for line, code in blocks(PAGE.read_text(encoding="utf-8")):
        # Padded, so that a traceback names the line of the page.
        exec(compile("\n" * (line - 1) + code, str(PAGE), "exec"), namespace)
    printed = capsys.readouterr().out
    assert "runs/first/report.html" in printed
    assert "Did you mean 'tiny_cnn'?" in printed
    assert (tmp_path / "runs" / "first" / "report.html").is_file()
    assert (tmp_path / "predictions.csv").is_file()
