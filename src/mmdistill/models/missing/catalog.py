"""Registers the strategies for missing columns, and their options. Imports no torch."""

from __future__ import annotations

from pydantic import Field, model_validator

from mmdistill.catalog import Options, register
from mmdistill.models.missing.entry import MissingEntry

ROOM = "mmdistill.models.missing"


class MeanOfSharedOptions(Options):
    """Options of `mean_of_shared`."""

    dim: int = Field(default=64, ge=1, description="Width of the shared space.")
    alignment: float = Field(
        default=0.1,
        ge=0,
        description="Weight of the loss that brings the shared vectors of a row's columns together, the mean absolute "
        "difference from their mean.",
    )


class ReconstructionOptions(Options):
    """Options of `reconstruction`."""

    dim: int = Field(default=64, ge=1, description="Width of the transformer; a multiple of `heads`.")
    heads: int = Field(default=4, ge=1, description="Attention heads.")
    depth: int = Field(default=1, ge=1, description="Layers.")
    memory: int = Field(default=4, ge=0, description="Memory tokens: learned vectors beside those of the columns.")
    hide: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="Chance, per row and column, to hide a present column in training, so that it is reconstructed; "
        "one always stays.",
    )
    weight: float = Field(default=1.0, gt=0, description="Weight of the reconstruction loss.")

    @model_validator(mode="after")
    def _heads_divide(self) -> ReconstructionOptions:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        return self


class TrainingMeanOptions(Options):
    """Options of `training_mean`."""

    momentum: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of a batch's own mean in an exponential mean; when left out the mean of all rows so far, "
        "those counted in which the encoder had learnt little.",
    )


ENTRIES = (
    MissingEntry(
        name="mask",
        target=f"{ROOM}.mask:Mask",
        summary="Nothing stands in: the fusion is told what is absent.",
        when="The first to try: every fusion leaves out what is absent in its own way.",
    ),
    MissingEntry(
        name="learned_token",
        target=f"{ROOM}.learned_token:LearnedToken",
        summary="A learned vector a column stands in.",
        equation=r"x_c = v_c",
        when="Rows lack columns in training too, or modality dropout hides them, and the fusion is one by attention.",
    ),
    MissingEntry(
        name="zero",
        target=f"{ROOM}.zero:Zero",
        summary="The control: zeros stand in, and the fusion takes them for a measurement.",
        equation=r"x_c = 0",
        when="To see what is lost by what most code does; not for a model that is used.",
    ),
    MissingEntry(
        name="mean_of_shared",
        target=f"{ROOM}.mean_of_shared:MeanOfShared",
        options=MeanOfSharedOptions,
        summary="The present columns' mean in a shared space, mapped back, stands in (ShaSpec).",
        paper="Wang, Chen, Ma, Avery, Hull and Carneiro, Multi-modal Learning with Missing Modality via "
        "Shared-Specific Feature Modelling, CVPR 2023, arXiv:2307.14126",
        equation=r"x_c = W'_c \, \frac{1}{|P|} \sum_{j \in P} W_j x_j",
        when="Columns say much the same, so that one can speak for another.",
        auxiliary=("missing_alignment",),
    ),
    MissingEntry(
        name="reconstruction",
        target=f"{ROOM}.reconstruction:Reconstruction",
        options=ReconstructionOptions,
        summary="A small transformer reconstructs absent columns from present ones (ActionMAE).",
        paper="Woo, Lee, Park, Nugroho and Kim, Towards Good Practices for Missing Modality Robust Action Recognition, "
        "AAAI 2023, arXiv:2211.13916",
        equation=r"x_c = g_c(\{x_j : j \in P\}, M)",
        when="Most training rows are complete, rows to be predicted are not, and columns tell of one another.",
        auxiliary=("missing_reconstruction",),
    ),
    MissingEntry(
        name="training_mean",
        target=f"{ROOM}.training_mean:TrainingMean",
        options=TrainingMeanOptions,
        summary="The mean over the training rows that have the column stands in.",
        equation=r"x_c = \frac{1}{N_c} \sum_{i : c \in P_i} x_{c,i}",
        when="A classical imputation to compare with, which needs no row without the column in training.",
    ),
)

for entry in ENTRIES:
    register(entry)
