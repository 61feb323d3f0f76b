"""What a strategy for missing columns declares about itself."""

from __future__ import annotations

from dataclasses import dataclass

from mmdistill.catalog import Entry


@dataclass(frozen=True, kw_only=True)
class MissingEntry(Entry):
    """A catalog entry of kind ``missing strategy``.

    Args:
        paper: authors, title, venue, year, arXiv number; empty where the idea has no single source.
        equation: what stands in, in TeX; empty where nothing does.
        when: when to use it, in a sentence or two.
        auxiliary: names of the losses of its own that it is trained with, under `auxiliary.<name>`.
    """

    kind: str = "missing strategy"
    extra: str | None = "train"
    requires: tuple[str, ...] = ("torch",)
    paper: str = ""
    equation: str = ""
    when: str
    auxiliary: tuple[str, ...] = ()
