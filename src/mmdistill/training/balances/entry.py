"""What a method of balancing columns declares about itself."""

from __future__ import annotations

from dataclasses import dataclass

from mmdistill.catalog import Entry


@dataclass(frozen=True, kw_only=True)
class BalanceEntry(Entry):
    """A catalog entry of kind ``modality balance``.

    Args:
        paper: authors, title, venue, year, arXiv number.
        equation: the formula, in TeX.
        when: when to use it, in a sentence or two.
        reads_probes: whether it reads the probes of the columns, which are then trained whatever the recipe says of
            probes.
        reads_validation: whether it decides by looks at the validation rows, so that there have to be some.
        unimodal_teachers: whether the model learns from a model of each of its columns alone, which is trained first.
            The options then have `distill`, which gives its objective.
        classes: whether it needs targets that are one class a row.
        mixup: whether rows may be mixed.
        shows_columns_alone: whether the model is shown each of its columns alone at some steps.
    """

    kind: str = "modality balance"
    extra: str | None = "train"
    requires: tuple[str, ...] = ("torch",)
    paper: str
    equation: str
    when: str
    reads_probes: bool = False
    reads_validation: bool = False
    unimodal_teachers: bool = False
    classes: bool = False
    mixup: bool = True
    shows_columns_alone: bool = False
