"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; line breaks in cells become spaces and bars are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def anchor(heading: str) -> str:
    """The fragment that GitHub gives a heading: `distill.losses[].weight` → distilllossesweight."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def link(text: str, target: str) -> str:
    """A link; `text` is shown as it is."""
    return f"[{text}]({target})"


def code(text: str) -> str:
    """Text as code, in as many backticks as it needs."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def fenced(text: str, language: str = "") -> str:
    """A block of code."""
    return f"```{language}\n{text.rstrip()}\n```"


def prose(text: str) -> str:
    """A sentence of a source as Markdown: what stands in angle brackets is text, not HTML, and code stays as it is."""
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)|<(?=[A-Za-z/])", _escaped, text, flags=re.DOTALL)


def _escaped(found: re.Match[str]) -> str:
    return found.group() if found.group(1) else "\\<"


def page(*parts: str) -> str:
    """Parts of a page, a blank line between them; empty parts are left out."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
