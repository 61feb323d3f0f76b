"""What a distillation loss declares about itself: its inputs, its source and the properties that tests hold it to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmdistill.catalog import Entry

Family = Literal["logits", "features", "relations", "contrastive", "modalities"]
Equality = Literal["zero", "minimum", "none"]
Invariance = Literal["shift", "scale", "permutation", "joint permutation", "rotation"]


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
        alternatives: groups of accepted inputs of which one whole group must be bound, such as a teacher's dense logits
            or its stored truncated ones; empty where `needs` says it all.
        paper: authors, title, venue, year, arXiv number.
        equation: the formula, in TeX.
        typical_weight: the factor that the source multiplies the loss with, beside a supervised loss of weight 1.
        when: when to use it, in a sentence or two.
        cost: time and memory of a step beyond the models, in B rows, C classes or channels, D dimensions.
        equality: what holds where the student equals the teacher: the loss is ``zero``, has its ``minimum`` (zero
            gradient, value not zero), or ``none`` of both.
        sequences: whether inputs with positions, (B, L, C), and a ``mask`` (B, L) are taken beside (B, C).
        by_row: whether the loss is a weighted mean of independent values, one a row.
        pulls: whether following its gradient brings the student's inputs to the teacher's own (up to what
            `invariances` say), as a loss between equal shapes does, rather than only making the loss smaller.
        exact_gradient: whether the gradient is that of the value; a loss that weighs rows by what the student gives and
            holds these weights fixed says no.
        equal_widths: whether the student's features must be as wide as the teacher's, so that an adapter joins them
            where they are not; a loss of relations between rows compares any two widths.
        equal_sizes: whether maps must have the same height and width; a loss that resizes or pools them itself says
            no.
        learned: parts that the module learns or remembers, made by `DistillationLoss.build`; the function of the same
            name takes them, or what they give, as arguments.
        invariances: changes of the inputs that leave the loss as it is: ``shift`` of each row's logits by a constant,
            ``scale`` of a side by a positive factor, ``permutation`` of the channels of each side by an order of its
            own, ``joint permutation`` of both by the same order, ``rotation`` of the channels of each side by an
            orthogonal matrix of its own.
        compiles: whether torch.compile takes it without a graph break.
    """

    kind: str = "loss"
    family: Family
    needs: tuple[str, ...]
    accepts: tuple[str, ...] = ("weight",)
    alternatives: tuple[tuple[str, ...], ...] = ()
    paper: str
    equation: str
    typical_weight: str
    when: str
    cost: str
    equality: Equality = "zero"
    sequences: bool = False
    by_row: bool = True
    pulls: bool = True
    exact_gradient: bool = True
    equal_widths: bool = True
    equal_sizes: bool = True
    learned: tuple[str, ...] = ()
    invariances: tuple[Invariance, ...] = ()
    compiles: bool = True
