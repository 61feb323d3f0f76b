"""The transforms of logits that a loss term may list. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field

from mmdistill.catalog import Entry, Options, register


@dataclass(frozen=True, kw_only=True)
class TransformEntry(Entry):
    """A catalog entry of kind ``transform``; the function of the same name stands beside the module.

    Args:
        paper: authors, title, venue, year, arXiv number.
        equation: the formula, in TeX.
        when: when to use it, in a sentence or two.
        cost: time and memory of a step, in B rows and C classes.
        invariances: changes of one side's logits, row by row, that leave the result as it is: ``shift`` by a constant,
            ``scale`` by a positive factor.
    """

    kind: str = "transform"
    paper: str
    equation: str
    when: str
    cost: str
    invariances: tuple[str, ...] = ()


class StandardiseOptions(Options):
    """Options of `standardise`."""

    temperature: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Divides the standardised logits, without T²: for a loss that has no temperature. Otherwise leave "
        "1 and set the temperature of the loss, which brings T².",
    )


register(
    TransformEntry(
        name="standardise",
        target="mmdistill.losses.transforms.standardise:Standardise",
        options=StandardiseOptions,
        summary="Logits of each row with mean 0 and standard deviation 1, so that only their relations are taught.",
        paper="Sun, Ren, Li, Wang, Cao, Logit Standardization in Knowledge Distillation, CVPR 2024, arXiv:2403.01427, "
        "algorithm 1",
        equation=r"\frac{z - \bar z}{T \, \mathrm{std}(z)}",
        when="When student and teacher differ much in the size of their logits, as a small student and a large teacher "
        "do. The paper takes temperature 2 and weight 9 for kd.",
        cost="A layer normalisation of both sides: O(B·C) time and memory.",
        invariances=("shift", "scale"),
    )
)
