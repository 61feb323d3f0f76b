"""What a distillation loss declares about itself: its inputs, its source and the properties that tests hold it to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmdistill.catalog import Entry

Family = Literal["logits", "features", "relations", "contrastive", "modalities"]
Equality = Literal["zero", "minimum", "none"]


@dataclass(frozen=True, kw_only=True)
class LossEntry(Entry):
    """A catalog entry of kind ``loss``.

    The function of the same name stands beside the module in the file that `target` names. Declarations let a recipe be
    checked without torch (a loss that needs ``target`` cannot serve a task without classes), feed the docs page, and
    tell the common test suite what must hold.

    Args:
        family: what kind of knowledge is compared.
        needs: inputs that must be bound, as ``forward`` names them.
        accepts: inputs that are used when they are there.
        paper: authors, title, venue, year, arXiv number.
        equation: the formula, in TeX.
        typical_weight: the factor that the source multiplies the loss with, beside a supervised loss of weight 1.
        equality: what holds where the student equals the teacher: the loss is ``zero``, has its ``minimum`` (zero
            gradient, value not zero), or ``none`` of both.
        sequences: whether (B, L, C) inputs with a ``mask`` (B, L) are taken beside (B, C).
        by_row: whether the loss is a weighted mean of independent values, one a row.
    """

    kind: str = "loss"
    family: Family
    needs: tuple[str, ...]
    accepts: tuple[str, ...] = ("weight",)
    paper: str
    equation: str
    typical_weight: str
    equality: Equality = "zero"
    sequences: bool = False
    by_row: bool = True
