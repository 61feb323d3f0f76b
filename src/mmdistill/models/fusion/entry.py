"""What a fusion declares about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmdistill.catalog import Entry


@dataclass(frozen=True, kw_only=True)
class FusionEntry(Entry):
    """A catalog entry of kind ``fusion``.

    Args:
        paper: authors, title, venue, year, arXiv number; empty where the idea has no single source.
        equation: the formula, in TeX.
        when: when to use it, in a sentence or two.
        tokens: what it does with the columns' tokens: ``ignored`` (it reads the pooled embeddings), ``used`` where
            a column has them (a column without counts as one token), or ``aligned``: it needs those of every column,
            which belong together position by position.
        taps: names of the outputs that it adds, ``<column>`` standing for each column.
        auxiliary: names of the losses of its own that it is trained with, under `auxiliary.<name>`.
    """

    kind: str = "fusion"
    extra: str | None = "train"
    requires: tuple[str, ...] = ("torch",)
    paper: str = ""
    equation: str
    when: str
    tokens: Literal["ignored", "used", "aligned"] = "ignored"
    taps: tuple[str, ...] = ()
    auxiliary: tuple[str, ...] = ()
