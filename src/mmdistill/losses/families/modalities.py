"""Losses across modalities; those between the modalities of one model stand in `shared_private`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmdistill.catalog import NoOptions, Options
from mmdistill.losses.entry import LossEntry
from mmdistill.losses.families import shared_private

_C2KD = (
    "Huo, Xu, Guo, Wang, Guo, C2KD: Bridging the Modality Gap for Cross-Modal Knowledge Distillation, CVPR 2024, "
    "on-the-fly selection distillation"
)
_MMANET = (
    "Wei, Luo, Luo, MMANet: Margin-aware Distillation and Modality-aware Regularization for Incomplete Multimodal "
    "Learning, CVPR 2023, arXiv:2304.08028"
)
_MFH = (
    "Xue, Gao, Ren, Zhao, The Modality Focusing Hypothesis: Towards Understanding Crossmodal Knowledge Distillation, "
    "ICLR 2023, arXiv:2206.06487, algorithm 1 and section 5"
)
_PROMPTMM = (
    "Wei, Tang, Xia, Jiang, Huang, PromptMM: Multi-Modal Knowledge Distillation for Recommendation with Prompt-Tuning, "
    "WWW 2024, arXiv:2402.17188"
)


class C2KDOptions(Options):
    """Options of `c2kd`."""

    temperature: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Divides both logits; higher is softer. The loss carries T²; the paper takes 1.",
    )
    threshold: float | None = Field(
        default=0.0,
        ge=-1,
        le=1,
        description="Kendall's tau between the two sides' rankings that a row has to exceed to be taught; null teaches "
        "every row.",
    )
    target_class: Literal["left_out", "logit_0"] = Field(
        default="left_out",
        description="left_out: of both softmaxes, as the paper says; logit_0: it takes part with the logit 0 (the "
        "authors' code).",
    )


class MADOptions(Options):
    """Options of `mad`."""

    uncertainty: Literal["anchor", "partner"] = Field(
        default="anchor",
        description="Whose uncertainty weighs the product of two rows. anchor: the row's whose relations are compared "
        "(paper, segmentation code); partner: the other's (classification code).",
    )


class MMANetRegularisationOptions(Options):
    """Options of `mmanet_regularisation`."""

    weak: tuple[tuple[bool, ...], ...] | None = Field(
        default=None,
        description="Combinations of shown columns that the student is weak at: for each a truth value a column, the "
        "columns in sorted order. null: every combination that lacks a column.",
    )


class MaskedFeatureKDOptions(Options):
    """Options of `masked_feature_kd`."""

    channels: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(),
        description="Numbers of the teacher's channels to imitate, such as `most_salient` gives; all when empty.",
    )


class PromptMMPairwiseOptions(NoOptions):
    """Options of `promptmm_pairwise`; there are none."""


class PromptMMListwiseOptions(Options):
    """Options of `promptmm_listwise`."""

    form: Literal["disentangled", "plain"] = Field(
        default="disentangled",
        description="disentangled: the chosen candidate against the rest, and the rest among themselves, weighted "
        "apart; plain: KL divergence over all candidates.",
    )
    alpha: float = Field(
        default=100.0, ge=0, allow_inf_nan=False, description="Weight of the chosen candidate's term (disentangled)."
    )
    beta: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Weight of the other candidates' term (disentangled)."
    )


class PromptMMFeatureOptions(Options):
    """Options of `promptmm_feature`."""

    exponent: float = Field(
        default=2.0,
        ge=1,
        allow_inf_nan=False,
        description="Power of 1 − cosine; higher weighs down rows that agree already.",
    )
    dropped: float = Field(
        default=0.0, ge=0, lt=1, description="Share of the rows, those furthest apart, that are left out as noise."
    )


ENTRIES: tuple[LossEntry, ...] = (
    LossEntry(
        name="c2kd",
        target="mmdistill.losses.c2kd:C2KD",
        options=C2KDOptions,
        summary="KL of the classes beside the target, on the rows whose classes both sides rank alike.",
        family="modalities",
        needs=("student_logits", "teacher_logits", "target"),
        accepts=("labelled", "weight", "mask"),
        paper=_C2KD,
        equation=r"T^2 \, [\tau(z^s, z^t) > \omega] \, \mathrm{KL}\big(\sigma(z^t_{\setminus y} / T) \,\|\, "
        r"\sigma(z^s_{\setminus y} / T)\big)",
        typical_weight="1 beside 1 of the supervised loss, with kd at temperature 1 between heads and proxies",
        when="When teacher and student read different modalities, so that the student cannot see much of what the "
        "teacher says of a row. In full it trains both, each with a proxy head; see the docstring.",
        cost="Two softmaxes, and sorting the classes some 2·log C times without gradient: O(B·C·log² C) time.",
        sequences=True,
        pulls=False,
    ),
    LossEntry(
        name="mad",
        target="mmdistill.losses.mmanet:MAD",
        options=MADOptions,
        summary="Relations between rows as the teacher sees them, most where the teacher hesitates.",
        family="modalities",
        needs=("student_features", "teacher_features", "teacher_logits"),
        paper=_MMANET + ", margin-aware distillation",
        equation=r"\sum_i \frac{H(p^t_i)}{\sum_j H(p^t_j)} \, \lVert \hat g_i^s - \hat g_i^t \rVert^2, \quad "
        r"\hat g_i = \frac{F F_i}{\lVert F F_i \rVert}",
        typical_weight="1",
        when="When a student has to work with columns missing that the teacher has. The features may be of any width.",
        cost="Products of all pairs of rows: O(B²·D) time, O(B²) memory.",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("permutation",),
    ),
    LossEntry(
        name="mmanet_regularisation",
        target="mmdistill.losses.mmanet:MMANetRegularisation",
        options=MMANetRegularisationOptions,
        summary="Cross-entropy on rows of which the student is shown a combination of columns that it is weak at.",
        family="modalities",
        needs=("student_logits", "target", "seen"),
        accepts=("labelled", "weight"),
        paper=_MMANET + ", equation 14",
        equation=r"-\tfrac{1}{B} \sum_i [m_i \in \mathcal{W}] \, \log \sigma(z^s_i)_{y_i}",
        typical_weight="1",
        when="Beside mad, with modality dropout: so that the student does not live on its strong modalities alone.",
        cost="A softmax: O(B·C) time and memory.",
        equality="none",
        pulls=False,
    ),
    LossEntry(
        name="masked_feature_kd",
        target="mmdistill.losses.modality_focusing:MaskedFeatureKD",
        options=MaskedFeatureKDOptions,
        summary="Mean squared error on the teacher's channels that speak of what both modalities see.",
        family="modalities",
        needs=("student_features", "teacher_features"),
        accepts=("weight", "mask"),
        paper=_MFH,
        equation=r"\tfrac{1}{|\mathcal{C}|} \sum_{c \in \mathcal{C}} (f^s_c - f^t_c)^2",
        typical_weight="1",
        when="When teacher and student read different modalities: rank the teacher's channels with "
        "modality_focusing.modality_saliency, then imitate the first of them.",
        cost="O(B·D) time and memory; the ranking is done once before training.",
        sequences=True,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="promptmm_pairwise",
        target="mmdistill.losses.promptmm:PromptMMPairwise",
        options=PromptMMPairwiseOptions,
        summary="How surely the teacher prefers the chosen candidate to each other one.",
        family="modalities",
        needs=("student_logits", "teacher_logits", "target"),
        accepts=("labelled", "weight"),
        paper=_PROMPTMM + ", pair-wise ranking distillation",
        equation=r"\tfrac{1}{n - 1} \sum_{c \ne y} \mathrm{KL}\big(\sigma(z^t_y - z^t_c) \,\|\, "
        r"\sigma(z^s_y - z^s_c)\big)",
        typical_weight="1",
        when="For ranking and recommendation, where a row has scores of one chosen and several other candidates.",
        cost="O(B·candidates) time and memory.",
        invariances=("shift",),
    ),
    LossEntry(
        name="promptmm_listwise",
        target="mmdistill.losses.promptmm:PromptMMListwise",
        options=PromptMMListwiseOptions,
        summary="How the teacher shares out its choice among the candidates, the chosen one weighted apart.",
        family="modalities",
        needs=("student_logits", "teacher_logits", "target"),
        accepts=("labelled", "weight"),
        paper=_PROMPTMM + ", list-wise ranking distillation",
        equation=r"\alpha \mathrm{KL}(b^t \,\|\, b^s) + \beta \mathrm{KL}(\hat p^t \,\|\, \hat p^s)",
        typical_weight="0.1 with the default alpha",
        when="For ranking and recommendation, with a term for each modality that the teacher scores candidates with.",
        cost="Two softmaxes of both sides: O(B·candidates) time and memory.",
        invariances=("shift",),
    ),
    LossEntry(
        name="promptmm_feature",
        target="mmdistill.losses.promptmm:PromptMMFeature",
        options=PromptMMFeatureOptions,
        summary="A power of 1 − cosine between embeddings.",
        family="modalities",
        needs=("student_features", "teacher_features"),
        paper=_PROMPTMM + ", embedding distillation",
        equation=r"\big(1 - \cos(f^s, f^t)\big)^\gamma",
        typical_weight="0.1",
        when="Embeddings whose direction matters and not their length; rows that agree already are left alone.",
        cost="O(B·D) time and memory.",
        invariances=("scale", "joint permutation"),
    ),
    *shared_private.ENTRIES,
)
