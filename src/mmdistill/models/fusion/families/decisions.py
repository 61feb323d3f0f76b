"""Fusions of what each column says on its own: late fusion and its kin. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mmdistill.catalog import Options
from mmdistill.models.fusion.entry import FusionEntry

Width = Annotated[int, Field(ge=1)]
ROOM = "mmdistill.models.fusion"


class LateOptions(Options):
    """Options of the fusion `late`."""

    hidden: int | None = Field(
        default=None, ge=1, description="Give each column's head a hidden Linear and ReLU layer of this width."
    )


class LateWeightedOptions(LateOptions):
    """Options of the fusion `late_weighted`."""


class LateStackedOptions(LateOptions):
    """Options of the fusion `late_stacked`."""

    scores: int = Field(
        default=16, ge=1, description="How many scores each column gives; at least as many as there are classes."
    )
    layers: list[Width] = Field(
        default=[32], min_length=1, description="Width of each Linear and ReLU layer of the network on the scores."
    )


class MixtureOfExpertsOptions(Options):
    """Options of the fusion `mixture_of_experts`."""

    dim: int = Field(default=128, ge=1, description="Width of the result.")
    experts: int = Field(default=4, ge=2, description="How many experts there are.")
    hidden: int = Field(default=64, ge=1, description="Width of each expert's hidden layer.")
    top: int | None = Field(
        default=2, ge=1, description="How many experts a row is given to, those of its largest gates; null: all."
    )
    noise: bool = Field(
        default=False,
        description="While training, add Gaussian noise of a learned size to the scores of the gates, as Shazeer et "
        "al. do.",
    )
    balance: Literal["switch", "importance"] = Field(
        default="switch",
        description="What keeps a few experts from getting every row. switch: share of the rows times mean "
        "probability, summed over experts (Switch Transformer); importance: squared coefficient of variation of the "
        "summed gates (Shazeer et al.).",
    )
    balance_weight: float = Field(default=0.01, ge=0, allow_inf_nan=False, description="Weight of that loss.")

    @model_validator(mode="after")
    def _top_of_experts(self) -> MixtureOfExpertsOptions:
        if self.top is not None and self.top > self.experts:
            raise ValueError(f"top ({self.top}) cannot be more than experts ({self.experts})")
        return self


ENTRIES = (
    FusionEntry(
        name="late",
        target=f"{ROOM}.late:Late",
        options=LateOptions,
        summary="A head for each column, averaged over the columns that are there.",
        equation=r"y = \frac{1}{|P|} \sum_{c \in P} (W_c x_c + b_c)",
        when="Columns say much the same, or any of them may be missing.",
    ),
    FusionEntry(
        name="late_weighted",
        target=f"{ROOM}.late_weighted:LateWeighted",
        options=LateWeightedOptions,
        summary="A head for each column, averaged with a learned weight a column.",
        equation=r"y = \sum_{c \in P} \frac{e^{a_c}}{\sum_{j \in P} e^{a_j}} (W_c x_c + b_c)",
        when="As late, where some columns deserve more trust than others in every row alike.",
    ),
    FusionEntry(
        name="late_stacked",
        target=f"{ROOM}.late_stacked:LateStacked",
        options=LateStackedOptions,
        summary="Each column's own scores, then a small network that has learned whom to believe.",
        paper="Wolpert, Stacked Generalization, Neural Networks 5 (2), 1992",
        equation=r"h = \mathrm{MLP}([s_1; \dots; s_M; p]), \quad s_c = W_c x_c + b_c",
        when="Columns contradict each other, and which of them is right depends on what they say.",
        taps=("<column>.scores",),
    ),
    FusionEntry(
        name="mixture_of_experts",
        target=f"{ROOM}.mixture_of_experts:MixtureOfExperts",
        options=MixtureOfExpertsOptions,
        summary="Several networks on the joined columns, and a gate that chooses among them for each row.",
        paper="Shazeer et al., Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer, ICLR "
        "2017, arXiv:1701.06538; Fedus, Zoph and Shazeer, Switch Transformers, JMLR 2022, arXiv:2101.03961",
        equation=r"h = \sum_e g_e \, E_e(x), \quad g = \mathrm{softmax}(\mathrm{top}_k(W x)), \quad x = [x_1; \dots; "
        r"x_M; p]",
        when="Rows fall into kinds that want different treatment, such as by which columns they have.",
        taps=("gates",),
        auxiliary=("load_balance",),
    ),
)
