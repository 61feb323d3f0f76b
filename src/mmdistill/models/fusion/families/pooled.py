"""Fusions that join the pooled embeddings: side by side, added up, gated. Imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.models.fusion.entry import FusionEntry

Width = Annotated[int, Field(ge=1)]
ROOM = "mmdistill.models.fusion"


class ConcatOptions(Options):
    """Options of the fusion `concat`."""

    hidden: list[Width] = Field(
        default=[128],
        description="Width of each Linear and ReLU layer behind; an empty list hands over the plain vectors.",
    )
    absent: Literal["learned", "zero"] = Field(
        default="learned",
        description="What stands for an absent column: a learned vector, or zeros and a bit for every column that says "
        "whether it is there.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Chance of zeroing an activation while training.")


class GatedOptions(Options):
    """Options of the fusion `gated`."""

    dim: int = Field(default=128, ge=1, description="Width of the result.")
    gates: Literal["softmax", "sigmoid"] = Field(
        default="softmax",
        description="softmax: the present columns share each feature, as in the paper's unit for two; sigmoid: every "
        "column has a gate of its own, as in the paper's unit for many.",
    )


class ProjectionOptions(Options):
    """What fusions have in common that bring every column to the same width."""

    dim: int = Field(default=128, ge=1, description="Width that every column is projected to, and of the result.")


class SumOptions(ProjectionOptions):
    """Options of the fusion `sum`."""


class MeanOptions(ProjectionOptions):
    """Options of the fusion `mean`."""


class MaxOptions(ProjectionOptions):
    """Options of the fusion `max`."""


class WeightedSumOptions(ProjectionOptions):
    """Options of the fusion `weighted_sum`."""


ENTRIES = (
    FusionEntry(
        name="concat",
        target=f"{ROOM}.concat:Concat",
        options=ConcatOptions,
        summary="Vectors side by side, then layers.",
        equation=r"h = \mathrm{MLP}([x_1; \dots; x_M])",
        when="The first to try, and the one that others have to beat.",
    ),
    FusionEntry(
        name="gated",
        target=f"{ROOM}.gated:Gated",
        options=GatedOptions,
        summary="Gated multimodal unit: each feature is shared out among the columns.",
        paper="Arevalo, Solorio, Montes-y-Gómez and González, Gated Multimodal Units for Information Fusion, ICLR "
        "workshop 2017, arXiv:1702.01992",
        equation=r"h = \sum_c z_c \odot \tanh(W_c x_c), \quad z = \mathrm{softmax}_c(V [x_1; \dots; x_M])",
        when="Which column can be trusted differs from row to row.",
    ),
    FusionEntry(
        name="sum",
        target=f"{ROOM}.sum:Sum",
        options=SumOptions,
        summary="Columns projected to one width and added.",
        equation=r"h = \sum_{c \in P} (W_c x_c + b_c)",
        when="Each column adds its part, and how many there are says something too. With a linear head nothing "
        "multiplies one column with another: set the model's `projection`, or take a product, where they interact.",
    ),
    FusionEntry(
        name="mean",
        target=f"{ROOM}.mean:Mean",
        options=MeanOptions,
        summary="Columns projected to one width and averaged over those that are there.",
        equation=r"h = \frac{1}{|P|} \sum_{c \in P} (W_c x_c + b_c)",
        when="Columns say much the same and any of them may be missing: the result keeps its size.",
    ),
    FusionEntry(
        name="max",
        target=f"{ROOM}.max:Max",
        options=MaxOptions,
        summary="Columns projected to one width; the largest value of each feature wins.",
        equation=r"h_i = \max_{c \in P} (W_c x_c + b_c)_i",
        when="A sign in any one column is enough, such as a finding on any of several pictures.",
    ),
    FusionEntry(
        name="weighted_sum",
        target=f"{ROOM}.weighted_sum:WeightedSum",
        options=WeightedSumOptions,
        summary="Columns projected to one width and added with one learned weight each.",
        equation=r"h = \sum_{c \in P} s_c (W_c x_c + b_c), \quad s = \mathrm{softmax}_{c \in P}(w)",
        when="Columns differ in how far they can be trusted, but alike in every row; the weights can be read off.",
    ),
)
