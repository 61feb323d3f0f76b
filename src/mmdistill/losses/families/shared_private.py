"""Losses between the modalities of one model: what they share, what each has alone, and what each learns of the others.

They have no teacher beside the student. Their inputs are tuples with a tensor a column.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry

_DMD = "Li, Wang, Cui, Decoupled Multimodal Distilling for Emotion Recognition, CVPR 2023, arXiv:2303.13802"
_MISA = (
    "Hazarika, Zimmermann, Poria, MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment "
    "Analysis, ACM MM 2020, arXiv:2005.03545"
)


class _GraphOptions(Options):
    """What both graphs have."""

    sharpness: float = Field(
        default=0.125, gt=0, allow_inf_nan=False, description="Multiplies the scores of the edges before their softmax."
    )
    prior: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = Field(
        default=None,
        description="Expected weight of each edge, summing to 1: to the first column from the second, from the third, "
        "…, to the second from the first, …; null: all equal.",
    )
    regulariser: float = Field(
        default=10.0,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the squared distance between the mean weights of the edges and the prior; with 0 the "
        "edges learn to weigh the smallest distance alone.",
    )
    distance: Literal["absolute", "squared", "cosine"] = Field(
        default="absolute",
        description="Between both ends of an edge: sum of the absolute differences (paper) or of their squares, or "
        "1 − cosine.",
    )


class DMDHomogeneousOptions(_GraphOptions):
    """Options of `dmd_homogeneous`."""

    edge_width: int = Field(
        default=64, ge=1, description="Width that logits and embeddings are projected to for edges."
    )


class DMDHeterogeneousOptions(_GraphOptions):
    """Options of `dmd_heterogeneous`."""

    edge_width: int = Field(
        default=32, ge=1, description="Width that logits and embeddings are projected to for edges."
    )
    representations: Literal["none", "apart"] = Field(
        default="none",
        description="apart: also push the representations of different columns apart (the authors' code; not in the "
        "paper).",
    )
    representation_weight: float = Field(
        default=10.0, ge=0, allow_inf_nan=False, description="Weight of that term, with representations: apart."
    )


class DMDMarginOptions(Options):
    """Options of `dmd_margin`."""

    margin: float = Field(
        default=0.1,
        ge=0,
        allow_inf_nan=False,
        description="By how much the positive's cosine is to exceed the negative's, or its factor (target_distance).",
    )
    margin_scale: Literal["constant", "target_distance"] = Field(
        default="constant",
        description="constant, or target_distance: times the difference between the targets of anchor and negative "
        "(the authors' code, with 0.15).",
    )
    triplets: Literal["crossed", "all"] = Field(
        default="crossed",
        description="crossed: a positive of another column, a negative of the anchor's (paper); all: whatever has the "
        "same or another target (the authors' code).",
    )
    average: Literal["triplets", "anchors"] = Field(
        default="triplets",
        description="Over all triplets (paper), or over those of each anchor and then over anchors (the authors' "
        "code).",
    )


class DMDOrthogonalityOptions(Options):
    """Options of `dmd_orthogonality`."""

    form: Literal["positive", "signed"] = Field(
        default="positive",
        description="positive: part of the cosine, zero for orthogonal representations (the authors' code); signed: "
        "the cosine as the paper writes it, smallest for opposite ones.",
    )


class MISACMDOptions(Options):
    """Options of `misa_cmd`."""

    moments: int = Field(default=5, ge=1, le=10, description="Highest central moment that is compared.")
    interval: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Length of the interval that the representations lie in: 1 for a sigmoid, 2 for a tanh.",
    )


class MISADifferenceOptions(Options):
    """Options of `misa_difference`."""

    reduction: Literal["sum", "mean"] = Field(
        default="sum",
        description="Of the squared products of channels: sum, the squared Frobenius norm of the paper, or mean (the "
        "authors' code).",
    )
    detach_norm: bool = Field(
        default=False,
        description="Take the lengths that the rows are divided by as constants in the gradient (the authors' code).",
    )


class MISAReconstructionOptions(Options):
    """Options of `misa_reconstruction`."""

    error: Literal["squared", "scale_invariant", "squared_mean"] = Field(
        default="squared",
        description="squared: mean squared error (MISA); scale_invariant: less the square of the mean error (Bousmalis "
        "et al.); squared_mean: the square of the mean error alone (SIMSE in MISA's code).",
    )


ENTRIES: tuple[LossEntry, ...] = (
    LossEntry(
        name="dmd_homogeneous",
        target="mmdistill.losses.graph_distillation:DMDHomogeneous",
        options=DMDHomogeneousOptions,
        summary="Each column learns from the others in the shared space, along edges whose weights are learned.",
        family="modalities",
        needs=("student_embeddings",),
        accepts=("student_column_logits", "present", "weight"),
        paper=_DMD + ", section 3 (graph distillation)",
        equation=r"\sum_{i \ne j} (w_{i \to j} + \pi_{i \to j}) \, \lVert f_j - f_i \rVert_1 + "
        r"\lambda \sum_{i \ne j} (\bar w_{i \to j} - \pi_{i \to j})^2",
        typical_weight="0.05",
        when="When columns say the same in different quality, and no one knows beforehand which should teach which.",
        cost="Differences of all pairs of M columns: O(B·M²·D) time and memory.",
        equality="none",
        by_row=False,
        pulls=False,
        exact_gradient=False,
        learned=("edges",),
    ),
    LossEntry(
        name="dmd_heterogeneous",
        target="mmdistill.losses.graph_distillation:DMDHeterogeneous",
        options=DMDHeterogeneousOptions,
        summary="The head of each column learns from the others' in the private space, along learned edges.",
        family="modalities",
        needs=("student_embeddings", "student_column_logits"),
        accepts=("present", "weight"),
        paper=_DMD + ", section 3 (graph distillation)",
        equation=r"\sum_{i \ne j} (w_{i \to j} + \pi_{i \to j}) \, \lVert z_j - z_i \rVert_1 + "
        r"\lambda \sum_{i \ne j} (\bar w_{i \to j} - \pi_{i \to j})^2",
        typical_weight="0.05",
        when="As dmd_homogeneous, for representations that share too little to be compared but by what they predict.",
        cost="Differences of all pairs of M columns: O(B·M²·D) time and memory.",
        equality="none",
        by_row=False,
        pulls=False,
        exact_gradient=False,
        learned=("edges",),
    ),
    LossEntry(
        name="dmd_margin",
        target="mmdistill.losses.dmd:DMDMargin",
        options=DMDMarginOptions,
        summary="Shared representations of one target are closer than those of two, whatever their column.",
        family="modalities",
        needs=("student_shared", "target"),
        accepts=("labelled", "weight"),
        paper=_DMD + ", section 3 (feature decoupling)",
        equation=r"\tfrac{1}{|S|} \sum_{(i, j, k) \in S} \max\big(0, \alpha - \cos(c_i, c_j) + \cos(c_i, c_k)\big)",
        typical_weight="0.1; 0.01 in the authors' code",
        when="Beside dmd_orthogonality, so that what the columns share is what the task is about.",
        cost="Cosines of all pairs of n = B·M representations, sorted: O(n²·(D + log n)) time, O(n²) memory.",
        equality="none",
        by_row=False,
        pulls=False,
    ),
    LossEntry(
        name="dmd_orthogonality",
        target="mmdistill.losses.dmd:DMDOrthogonality",
        options=DMDOrthogonalityOptions,
        summary="The shared and the private representation of a column point in different directions.",
        family="modalities",
        needs=("student_shared", "student_private"),
        paper=_DMD + ", section 3 (feature decoupling)",
        equation=r"\sum_m \max\big(0, \cos(c_m, p_m)\big)",
        typical_weight="0.1; 0.01 in the authors' code",
        when="Where a column's representation is split into what it shares and what it has alone.",
        cost="O(B·M·D) time and memory.",
        equality="none",
        pulls=False,
    ),
    LossEntry(
        name="misa_cmd",
        target="mmdistill.losses.misa:MISACMD",
        options=MISACMDOptions,
        summary="Shared representations of the columns have the same central moments.",
        family="modalities",
        needs=("student_shared",),
        paper=_MISA + ", similarity loss",
        equation=r"\tfrac{2}{M(M-1)} \sum_{a < b} \Big( \tfrac{\lVert E(a) - E(b) \rVert}{|I|} + "
        r"\sum_{k=2}^{K} \tfrac{\lVert c_k(a) - c_k(b) \rVert}{|I|^k} \Big)",
        typical_weight="0.7 to 1",
        when="To make what the columns share alike in distribution, without an adversary; values must be bounded.",
        cost="O(B·M·D) time and memory for each moment.",
        equality="none",
        by_row=False,
        pulls=False,
    ),
    LossEntry(
        name="misa_difference",
        target="mmdistill.losses.misa:MISADifference",
        options=MISADifferenceOptions,
        summary="Shared and private representations, and private ones of different columns, are not correlated.",
        family="modalities",
        needs=("student_shared", "student_private"),
        paper=_MISA + ", difference loss",
        equation=r"\sum_m \lVert C_m^\top P_m \rVert_F^2 + \sum_{a < b} \lVert P_a^\top P_b \rVert_F^2",
        typical_weight="0.3 with reduction: mean",
        when="Beside misa_cmd, so that what a column has alone is not in what it shares.",
        cost="Products of all pairs of channels: O(B·M²·D²) time, O(M²·D²) memory.",
        equality="none",
        by_row=False,
        pulls=False,
    ),
    LossEntry(
        name="misa_reconstruction",
        target="mmdistill.losses.misa:MISAReconstruction",
        options=MISAReconstructionOptions,
        summary="A decoder restores each column from its shared and private representation.",
        family="modalities",
        needs=("student_embeddings", "student_reconstructions"),
        paper=_MISA + ", reconstruction loss",
        equation=r"\tfrac{1}{M} \sum_m \tfrac{1}{D} \lVert h_m - \hat h_m \rVert^2",
        typical_weight="1",
        when="Beside misa_cmd and misa_difference, so that the private part is not empty.",
        cost="O(B·M·D) time and memory.",
        equality="none",
        pulls=False,
    ),
)
