"""Fusions with a part that columns share and a part of their own. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from mmdistill.catalog import Options
from mmdistill.models.fusion.entry import FusionEntry

Width = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ROOM = "mmdistill.models.fusion"


class MISAOptions(Options):
    """Options of the fusion `misa`."""

    dim: int = Field(
        default=64, ge=1, description="Width of the shared and private representations; a multiple of `heads`."
    )
    heads: int = Field(default=2, ge=1, description="Attention heads.")
    depth: int = Field(default=1, ge=1, description="Transformer layers over the representations.")
    hidden: list[Width] = Field(
        default=[128],
        description="Width of each Linear and ReLU layer behind; an empty list hands over the representations.",
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Chance of zeroing an activation while training.")
    moments: int = Field(default=5, ge=1, le=10, description="Highest central moment that the similarity compares.")
    similarity_weight: Weight = Field(
        default=1.0,
        description="Of the central moment discrepancy between shared representations; 0.7 or 1 in the paper.",
    )
    difference_weight: Weight = Field(
        default=0.3,
        description="Of the correlation of shared with private representations, and of private ones with each other, "
        "as the mean over pairs of channels.",
    )
    reconstruction_weight: Weight = Field(
        default=1.0, description="Of the error of what a decoder restores from both; 0.7 or 1 in the paper."
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> MISAOptions:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        return self


class ShaSpecOptions(Options):
    """Options of the fusion `shaspec`."""

    dim: int = Field(default=64, ge=1, description="Width of the shared and specific features.")
    hidden: list[Width] = Field(
        default=[128],
        description="Width of each Linear and ReLU layer behind; an empty list hands over the fused features.",
    )
    alignment_weight: Weight = Field(
        default=0.1, description="Of the mean absolute difference between shared features of a row."
    )
    classification_weight: Weight = Field(
        default=0.02, description="Of the cross-entropy of telling a column from its specific features."
    )


ENTRIES = (
    FusionEntry(
        name="misa",
        target=f"{ROOM}.misa:MISA",
        options=MISAOptions,
        summary="A shared and a private representation of each column, then a transformer over all of them.",
        paper="Hazarika, Zimmermann and Poria, MISA: Modality-Invariant and -Specific Representations for Multimodal "
        "Sentiment Analysis, ACM MM 2020, arXiv:2005.03545",
        equation=r"h = \mathrm{MLP}(\mathrm{Transformer}([c_1, \dots, c_M, p_1, \dots, p_M])), \quad c_m = "
        r"\sigma(W u_m), \quad p_m = \sigma(W_m u_m)",
        when="Columns say partly the same and partly not, and one wants to see and to use both parts.",
        taps=("<column>.shared", "<column>.private", "<column>.projected", "<column>.reconstruction"),
        auxiliary=("similarity", "difference", "reconstruction"),
    ),
    FusionEntry(
        name="shaspec",
        target=f"{ROOM}.shaspec:ShaSpec",
        options=ShaSpecOptions,
        summary="Shared and specific features of each column; a missing column gets the others' shared features.",
        paper="Wang, Chen, Ma, Avery, Hull and Carneiro, Multi-Modal Learning With Missing Modality via "
        "Shared-Specific Feature Modelling, CVPR 2023, arXiv:2307.14126",
        equation=r"f_m = r_m + W [r_m; s_m]; \quad f_m = \tfrac{1}{|P|} \sum_{j \in P} r_j \text{ where } m \notin P",
        when="Columns are missing in many rows, in training or after it.",
        taps=("<column>.shared", "<column>.private"),
        auxiliary=("alignment", "classification"),
    ),
)
