"""What tests of pages share: their fenced blocks, and fragments of recipes laid over a whole one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdistill.recipe.document import parse_document
from mmdistill.recipe.schema import merge

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
ONE_OF = ({"student", "students"}, {"teacher", "teachers"}, {"task", "tasks"})
"""Keys of which a recipe has one."""
SOURCES = {"run", "encoders", "custom", "factory"}
"""Where a model comes from: a fragment that says another one takes the place of the whole model."""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def recipes(page: Path) -> list[dict[str, Any]]:
    """The YAML blocks of a page."""
    return [dict(parse_document(block, page.name).data) for block in blocks(page, "yaml")]


def laid_over(base: Mapping[str, Any], part: Mapping[str, Any]) -> dict[str, Any]:
    """A whole recipe with a fragment of a page laid over it, as a reader would."""
    base = dict(base)
    for names in ONE_OF:
        if names & part.keys():
            for name in names - part.keys():
                base.pop(name, None)
    for name in ("teacher", "student"):
        if SOURCES & (part.get(name) or {}).keys():
            base.pop(name, None)
    return merge(base, part)
