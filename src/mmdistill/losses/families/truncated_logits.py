"""Losses that look at a teacher's largest logits only, given dense or stored truncated."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry

_K = "How many classes of a dense teacher are kept; a teacher stored truncated keeps those it has."


class TopKKLOptions(Options):
    """Options of `topk_kl`."""

    k: int = Field(default=32, ge=1, description=_K)
    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Softens both sides. The loss carries T²."
    )
    remainder: Literal["one_outcome", "dropped", "zero", "symmetric_uniform"] = Field(
        default="one_outcome",
        description="The other classes. one_outcome: one more outcome on both sides, softened like the rest; dropped: "
        "left out on both sides; zero: impossible to the teacher, so that the student is taught to be surer (the "
        "default of DistillKit); symmetric_uniform: one outcome that the teacher softens whole and the student class "
        "by class (DistillKit).",
    )


class TopKJSDOptions(TopKKLOptions):
    """Options of `topk_jsd`."""


class TopKTVDOptions(TopKKLOptions):
    """Options of `topk_tvd`."""


class TopKHingeOptions(Options):
    """Options of `topk_hinge`."""

    k: int = Field(default=32, ge=1, description=_K)
    margin: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="Lead in probability that the student must give the likelier class of a pair; null for the "
        "teacher's own lead.",
    )


class TopKLogisticRankingOptions(Options):
    """Options of `topk_logistic_ranking`."""

    k: int = Field(default=32, ge=1, description=_K)


_TRUNCATED = ("teacher_values", "teacher_indices", "teacher_log_remainder")
_TEACHERS = (("teacher_logits",), _TRUNCATED)
_ACCEPTS = ("teacher_logits", *_TRUNCATED, "weight", "mask")
_PAPER = "DistillKit, Arcee AI, offline top-k logit distillation, 2024 to 2026"

ENTRIES = (
    LossEntry(
        name="topk_kl",
        target="mmdistill.losses.topk_divergences:TopKKL",
        options=TopKKLOptions,
        summary="KL divergence over the teacher's k likeliest classes and one outcome for all the others.",
        family="logits",
        needs=("student_logits",),
        accepts=_ACCEPTS,
        alternatives=_TEACHERS,
        paper=f"{_PAPER}, KLDLoss",
        equation=r"T^2 \sum_{c \in \mathrm{top}_k \cup \{\mathrm{rest}\}} "
        r"\hat p^t_c \log \frac{\hat p^t_c}{\hat p^s_c}",
        typical_weight="1, with or without a supervised loss",
        when="Large vocabularies: a stored teacher takes k numbers a token, and the tail is noise anyway.",
        cost="A log-sum-exp of the student, O(B·C), and O(B·k) for the rest; a dense teacher adds its top-k.",
        sequences=True,
        pulls=False,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="topk_jsd",
        target="mmdistill.losses.topk_divergences:TopKJSD",
        options=TopKJSDOptions,
        summary="Jensen-Shannon divergence over the teacher's k likeliest classes and one outcome for all the others.",
        family="logits",
        needs=("student_logits",),
        accepts=_ACCEPTS,
        alternatives=_TEACHERS,
        paper=f"{_PAPER}, JSDLoss",
        equation=r"\tfrac{T^2}{2} \big(\mathrm{KL}(\hat p^t \,\|\, m) + \mathrm{KL}(\hat p^s \,\|\, m)\big), \; "
        r"m = \tfrac12 (\hat p^t + \hat p^s)",
        typical_weight="1, with or without a supervised loss",
        when="As topk_kl, where single confident mistakes of the student must not dominate the gradient.",
        cost="As topk_kl.",
        sequences=True,
        pulls=False,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="topk_tvd",
        target="mmdistill.losses.topk_divergences:TopKTVD",
        options=TopKTVDOptions,
        summary="Total variation distance over the teacher's k likeliest classes and one outcome for all the others.",
        family="logits",
        needs=("student_logits",),
        accepts=_ACCEPTS,
        alternatives=_TEACHERS,
        paper=f"{_PAPER}, TVDLoss",
        equation=r"\tfrac{T^2}{2} \sum_{c \in \mathrm{top}_k \cup \{\mathrm{rest}\}} |\hat p^t_c - \hat p^s_c|",
        typical_weight="1, with or without a supervised loss",
        when="As topk_kl, where the share of sampled tokens that both would give counts (speculative decoding).",
        cost="As topk_kl.",
        sequences=True,
        pulls=False,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="topk_hinge",
        target="mmdistill.losses.topk_rankings:TopKHinge",
        options=TopKHingeOptions,
        summary="Hinge on the student's probabilities for every pair of top classes that the teacher orders.",
        family="logits",
        needs=("student_logits",),
        accepts=_ACCEPTS,
        alternatives=_TEACHERS,
        paper=f"{_PAPER}, HingeLoss",
        equation=r"\frac{1}{|P|} \sum_{(i, j) \in P} \max\big(0, m_{ij} - (p^s_i - p^s_j)\big), \; "
        r"P = \{(i, j): p^t_i > p^t_j\}",
        typical_weight="0.1 to 1 beside a divergence",
        when="Beside a divergence, where the order of the best candidates matters more than their probabilities.",
        cost="O(B·k²) time and memory beyond the student's log-sum-exp.",
        sequences=True,
        pulls=False,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="topk_logistic_ranking",
        target="mmdistill.losses.topk_rankings:TopKLogisticRanking",
        options=TopKLogisticRankingOptions,
        summary="Logistic loss on the student's logits for every pair of top classes that the teacher orders.",
        family="logits",
        needs=("student_logits",),
        accepts=_ACCEPTS,
        alternatives=_TEACHERS,
        paper=f"{_PAPER}, LogisticRankingLoss",
        equation=r"\frac{1}{|P|} \sum_{(i, j) \in P} \log\big(1 + e^{-(z^s_i - z^s_j)}\big), \; "
        r"P = \{(i, j): p^t_i > p^t_j\}",
        typical_weight="0.1 to 1 beside a divergence",
        when="Beside a divergence, where the order of the best candidates matters; never alone, for it has no minimum.",
        cost="O(B·k²) time and memory.",
        equality="none",
        sequences=True,
        pulls=False,
        invariances=("shift", "joint permutation"),
    ),
)
