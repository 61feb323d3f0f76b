"""Links to papers and to source files."""

from __future__ import annotations

import re
from pathlib import Path

from docs_pages.docstrings import Source
from docs_pages.markdown import code, link

ROOT = Path(__file__).resolve().parents[2]


def linked(paper: str) -> str:
    """A reference whose arXiv numbers lead to the papers."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


def source_line(source: Source | None) -> str:
    """The last line of a page: the file it tells about."""
    if source is None:
        return ""
    path = source.path.resolve().relative_to(ROOT).as_posix()
    return f"Source: {link(code(path), f'../../{path}')}"
