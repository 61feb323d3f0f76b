"""Divergences between class probabilities beyond forward KL, and losses that weight or normalise them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry


def _temperature(
    default: float, description: str = "Divides both logits; higher is softer. The loss carries T²."
) -> float:
    """The field that all of these options share."""
    field: float = Field(default=default, gt=0, allow_inf_nan=False, description=description)
    return field


class ReverseKLOptions(Options):
    """Options of `reverse_kl`."""

    temperature: float = _temperature(1.0)


class SymmetricKLOptions(Options):
    """Options of `symmetric_kl`."""

    temperature: float = _temperature(1.0)
    reverse_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of reverse KL in the sum; the rest is forward KL. 0.5 is symmetric, DistiLLM's code takes "
        "0.9.",
    )


class SkewedKLOptions(Options):
    """Options of `skewed_kl`."""

    temperature: float = _temperature(1.0)
    skew: float = Field(
        default=0.1, gt=0, lt=1, description="The teacher's share in the mixture that it is compared with."
    )


class SkewedReverseKLOptions(Options):
    """Options of `skewed_reverse_kl`."""

    temperature: float = _temperature(1.0)
    skew: float = Field(
        default=0.1, gt=0, lt=1, description="The student's share in the mixture that it is compared with."
    )


class GJSDOptions(Options):
    """Options of `gjsd`."""

    temperature: float = _temperature(1.0, "Divides both logits; higher is softer.")
    beta: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The teacher's share in the mixture: near 0 it acts like forward KL, near 1 like reverse KL, and "
        "0 and 1 are these.",
    )
    scale: Literal["temperature_squared", "none"] = Field(
        default="temperature_squared",
        description="temperature_squared: times T², so that the temperature does not rescale the gradient; none: "
        "without it (TRL).",
    )


class NKDOptions(Options):
    """Options of `nkd`."""

    temperature: float = _temperature(
        1.0, "Divides the logits of the classes beside the target; their term carries T²."
    )
    gamma: float = Field(default=1.5, ge=0, allow_inf_nan=False, description="Weight of the classes beside the target.")


class DISTOptions(Options):
    """Options of `dist`."""

    temperature: float = _temperature(1.0)
    inter_weight: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Weight of the correlation over the classes of a row."
    )
    intra_weight: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Weight of the correlation over the rows of a class."
    )
    epsilon: float = Field(
        default=0.0,
        ge=0,
        le=1e-2,
        description="Added to the product of the norms in a correlation; the authors' code has 1e-8.",
    )


class WSLDOptions(Options):
    """Options of `wsld`."""

    temperature: float = _temperature(2.0)


class TTMOptions(Options):
    """Options of `ttm`."""

    exponent: float = Field(
        default=0.1,
        gt=0,
        allow_inf_nan=False,
        description="Power of the teacher's probabilities: one over a temperature of the teacher alone.",
    )


class WTTMOptions(Options):
    """Options of `wttm`."""

    exponent: float = Field(
        default=0.2,
        gt=0,
        allow_inf_nan=False,
        description="Power of the teacher's probabilities: one over a temperature of the teacher alone.",
    )


_LOGITS = ("student_logits", "teacher_logits")
_DISTILLM = (
    "Ko, Kim, Chen, Yun, DistiLLM: Towards Streamlined Distillation for Large Language Models, ICML 2024, "
    "arXiv:2402.03898, section 3.1"
)
_TTM = (
    "Zheng, Yang, Knowledge Distillation Based on Transformed Teacher Matching, ICLR 2024, arXiv:2402.11148, section "
)

ENTRIES = (
    LossEntry(
        name="reverse_kl",
        target="mmdistill.losses.reverse_kl:ReverseKL",
        options=ReverseKLOptions,
        summary="KL divergence from the student to the teacher: the student's own probabilities weigh the classes.",
        family="logits",
        needs=_LOGITS,
        accepts=("weight", "mask"),
        paper="Gu, Dong, Wei, Huang, MiniLLM: Knowledge Distillation of Large Language Models, ICLR 2024, "
        "arXiv:2306.08543, section 2.1",
        equation=r"T^2 \, \mathrm{KL}\big(\sigma(z^s / T) \,\|\, \sigma(z^t / T)\big)",
        typical_weight="1",
        when="When the student is much smaller than the teacher and should rather be right on the main modes than "
        "cover everything, as in generating text.",
        cost="A softmax of both sides: O(B·C) time and memory.",
        sequences=True,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="symmetric_kl",
        target="mmdistill.losses.symmetric_kl:SymmetricKL",
        options=SymmetricKLOptions,
        summary="Forward and reverse KL divergence in one weighted sum.",
        family="logits",
        needs=_LOGITS,
        accepts=("weight", "mask"),
        paper="Kullback, Leibler, On Information and Sufficiency, Annals of Mathematical Statistics 22, 1951",
        equation=r"T^2 \big((1 - r) \, \mathrm{KL}(p \,\|\, q) + r \, \mathrm{KL}(q \,\|\, p)\big)",
        typical_weight="1",
        when="Between covering the teacher (kd) and settling on its modes (reverse_kl).",
        cost="A softmax of both sides: O(B·C) time and memory.",
        sequences=True,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="skewed_kl",
        target="mmdistill.losses.skewed_kl:SkewedKL",
        options=SkewedKLOptions,
        summary="KL divergence from the teacher to a mixture of both, bounded where the student misses a class.",
        family="logits",
        needs=_LOGITS,
        accepts=("weight", "mask"),
        paper=_DISTILLM,
        equation=r"T^2 \, \mathrm{KL}\big(p \,\|\, \alpha p + (1 - \alpha) q\big)",
        typical_weight="1",
        when="Large vocabularies, or a student that starts far away: the gradient stays bounded.",
        cost="A softmax of both sides and a mixture: O(B·C) time and memory.",
        sequences=True,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="skewed_reverse_kl",
        target="mmdistill.losses.skewed_kl:SkewedReverseKL",
        options=SkewedReverseKLOptions,
        summary="KL divergence from the student to a mixture of both, bounded where the teacher excludes a class.",
        family="logits",
        needs=_LOGITS,
        accepts=("weight", "mask"),
        paper=_DISTILLM,
        equation=r"T^2 \, \mathrm{KL}\big(q \,\|\, \alpha q + (1 - \alpha) p\big)",
        typical_weight="1",
        when="As reverse_kl, with a bounded gradient; DistiLLM's own choice for what the student generates itself.",
        cost="A softmax of both sides and a mixture: O(B·C) time and memory.",
        sequences=True,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="gjsd",
        target="mmdistill.losses.gjsd:GJSD",
        options=GJSDOptions,
        summary="Generalised Jensen-Shannon divergence: both sides against their mixture; between both KLs.",
        family="logits",
        needs=_LOGITS,
        accepts=("weight", "mask"),
        paper="Agarwal, Vieillard, Zhou, Stanczyk, Ramos, Geist, Bachem, On-Policy Distillation of Language Models: "
        "Learning from Self-Generated Mistakes, ICLR 2024, arXiv:2306.13649, equation 1",
        equation=r"T^2 \big(\beta \, \mathrm{KL}(p \,\|\, m) + (1 - \beta) \, \mathrm{KL}(q \,\|\, m)\big), \quad "
        r"m = \beta p + (1 - \beta) q",
        typical_weight="1",
        when="Language models, and teachers that are sometimes wrong: no row can pull harder than log 2.",
        cost="A softmax of both sides and a mixture: O(B·C) time and memory.",
        sequences=True,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="nkd",
        target="mmdistill.losses.nkd:NKD",
        options=NKDOptions,
        summary="The target's cross-entropy weighted by the teacher, and a normalised one over the other classes.",
        family="logits",
        needs=(*_LOGITS, "target"),
        accepts=("labelled", "weight", "mask"),
        paper="Yang, Zeng, Li, Zhang, Yuan, Li, From Knowledge Distillation to Self-Knowledge Distillation: A Unified "
        "Approach with Normalized Loss and Customized Soft Labels, ICCV 2023, arXiv:2303.13005, section 3.1",
        equation=r"-p_t \log q_t - \gamma \, T^2 \sum_{i \ne t} \hat p_i \log \hat q_i",
        typical_weight="1 beside 1 of the supervised loss",
        when="With labels and a confident teacher, as dkd, when the student should go on growing sure of the target.",
        cost="Two softmaxes of both sides: O(B·C) time and memory.",
        equality="none",
        pulls=False,
        sequences=True,
        invariances=("shift",),
    ),
    LossEntry(
        name="dist",
        target="mmdistill.losses.dist:DIST",
        options=DISTOptions,
        summary="Pearson correlation of the probabilities, over the classes of a row and over the rows of a class.",
        family="logits",
        needs=_LOGITS,
        accepts=("weight", "mask"),
        paper="Huang, You, Wang, Qian, Xu, Knowledge Distillation from A Stronger Teacher, NeurIPS 2022, "
        "arXiv:2205.10536, equations 6 to 10",
        equation=r"T^2 \Big(\tfrac{\beta}{B} \sum_b \big(1 - \rho(q_{b,:}, p_{b,:})\big) + \tfrac{\gamma}{C} \sum_c "
        r"\big(1 - \rho(q_{:,c}, p_{:,c})\big)\Big)",
        typical_weight="2 beside 1 of the supervised loss",
        when="When the teacher is much stronger than the student, or trained with strong augmentation.",
        cost="A softmax of both sides, two correlations: O(B·C) time and memory. A small batch says little over rows.",
        sequences=True,
        by_row=False,
        pulls=False,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="wsld",
        target="mmdistill.losses.wsld:WSLD",
        options=WSLDOptions,
        summary="Soft cross-entropy that counts less on rows which the student knows better than the teacher.",
        family="logits",
        needs=(*_LOGITS, "target"),
        accepts=("labelled", "weight", "mask"),
        paper="Zhou, Song, Chen, Zhou, Wang, Yuan, Zhang, Rethinking Soft Labels for Knowledge Distillation: A "
        "Bias-Variance Tradeoff Perspective, ICLR 2021, arXiv:2102.00650, section 4",
        equation=r"-T^2 \Big(1 - e^{-\mathrm{CE}^s / \mathrm{CE}^t}\Big) \sum_c \sigma(z^t / T)_c \, \log "
        r"\sigma(z^s / T)_c",
        typical_weight="2.5 beside 1 of the supervised loss",
        when="With labels, when the student does well on many rows and soft labels hold it back there.",
        cost="A softmax and a cross-entropy of both sides: O(B·C) time and memory.",
        equality="minimum",
        exact_gradient=False,
        sequences=True,
        invariances=("shift",),
    ),
    LossEntry(
        name="ttm",
        target="mmdistill.losses.ttm:TTM",
        options=TTMOptions,
        summary="KL divergence between the softened teacher and the student as it is.",
        family="logits",
        needs=_LOGITS,
        accepts=("weight", "mask"),
        paper=_TTM + "3",
        equation=r"\mathrm{KL}\Big(\frac{p^\gamma}{\sum_c p_c^\gamma} \,\Big\|\, q\Big)",
        typical_weight="45 beside 1 of the supervised loss (CIFAR-100, exponent 0.1)",
        when="As kd, when the student grows too sure of itself.",
        cost="A softmax of both sides: O(B·C) time and memory.",
        equality="none",
        pulls=False,
        sequences=True,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="wttm",
        target="mmdistill.losses.ttm:WTTM",
        options=WTTMOptions,
        summary="ttm with rows on which the teacher is unsure counting for more.",
        family="logits",
        needs=_LOGITS,
        accepts=("weight", "mask"),
        paper=_TTM + "4",
        equation=r"\sum_c p_c^\gamma \; \mathrm{KL}\Big(\frac{p^\gamma}{\sum_c p_c^\gamma} \,\Big\|\, q\Big)",
        typical_weight="4 (CIFAR-100, exponent 0.2, beside crd)",
        when="In place of ttm, with many classes of which several resemble each other.",
        cost="Two softmaxes of the teacher and one of the student: O(B·C) time and memory.",
        equality="none",
        pulls=False,
        sequences=True,
        invariances=("shift", "joint permutation"),
    ),
)
