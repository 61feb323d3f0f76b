"""Losses between the logits of student and teacher."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry


class KDOptions(Options):
    """Options of `kd`."""

    temperature: float = Field(
        default=4.0,
        gt=0,
        allow_inf_nan=False,
        description="Divides both logits; higher is softer. The loss carries T².",
    )


class SoftCrossEntropyOptions(Options):
    """Options of `soft_cross_entropy`."""

    temperature: float = Field(
        default=4.0, gt=0, allow_inf_nan=False, description="Divides both logits; higher is softer."
    )
    scale: Literal["temperature_squared", "none"] = Field(
        default="temperature_squared",
        description="temperature_squared: times T², so that the temperature does not rescale the gradient (Hinton et "
        "al.; cls_KD); none: without it (TextBrewer).",
    )


class MSELogitsOptions(Options):
    """Options of `mse_logits`."""

    temperature: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Divides both logits, so that the loss carries 1/T² (TextBrewer).",
    )
    reduction: Literal["mean", "half_sum"] = Field(
        default="mean",
        description="Over the classes of a row. mean: of the squares, as the name says and all implementations do; "
        "half_sum: half of their sum, as the paper writes it.",
    )


class DKDOptions(Options):
    """Options of `dkd`."""

    temperature: float = Field(
        default=4.0,
        gt=0,
        allow_inf_nan=False,
        description="Divides both logits; higher is softer. The loss carries T².",
    )
    alpha: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Weight of the target-class term (how sure the teacher is)."
    )
    beta: float = Field(
        default=8.0,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the non-target term (how the rest is shared out). The paper takes 8 for CIFAR-100 with "
        "confident teachers, 0.5 to 10 elsewhere.",
    )


ENTRIES = (
    LossEntry(
        name="kd",
        target="mmdistill.losses.kd:KD",
        options=KDOptions,
        summary="KL divergence between temperature-softened class probabilities, times T².",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("weight", "mask"),
        paper="Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531, section 2",
        equation=r"T^2 \, \mathrm{KL}\big(\sigma(z^t / T) \,\|\, \sigma(z^s / T)\big)",
        typical_weight="0.9 beside 0.1 of the supervised loss; 1 with scarce labels",
        when="The first thing to try with classes; everything else is measured against it.",
        cost="A softmax of both sides: O(B·C) time and memory.",
        sequences=True,
    ),
    LossEntry(
        name="soft_cross_entropy",
        target="mmdistill.losses.soft_cross_entropy:SoftCrossEntropy",
        options=SoftCrossEntropyOptions,
        summary="Cross-entropy against the softened teacher: the gradient of kd, its value plus the teacher's entropy.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("weight", "mask"),
        paper="Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531, section 2",
        equation=r"-T^2 \sum_c \sigma(z^t / T)_c \, \log \sigma(z^s / T)_c",
        typical_weight="0.9 beside 0.1 of the supervised loss",
        when="Where the value should read as a cross-entropy; trains as kd does.",
        cost="A softmax of both sides: O(B·C) time and memory.",
        equality="minimum",
        sequences=True,
    ),
    LossEntry(
        name="mse_logits",
        target="mmdistill.losses.mse_logits:MSELogits",
        options=MSELogitsOptions,
        summary="Mean squared error between logits.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("weight", "mask"),
        paper="Ba, Caruana, Do Deep Nets Really Need to be Deep?, NIPS 2014, arXiv:1312.6184, equation 1",
        equation=r"\tfrac{1}{C} \sum_c (z^s_c - z^t_c)^2",
        typical_weight="1, without a supervised loss in the paper",
        when="When the teacher is sure nearly everywhere and softening hides its logits, or for small transfer sets.",
        cost="O(B·C) time and memory.",
        sequences=True,
    ),
    LossEntry(
        name="dkd",
        target="mmdistill.losses.dkd:DKD",
        options=DKDOptions,
        summary="kd split into how sure the teacher is of the target and how it shares out the rest, weighted apart.",
        family="logits",
        needs=("student_logits", "teacher_logits", "target"),
        accepts=("labelled", "weight", "mask"),
        paper="Zhao, Cui, Song, Qiu, Liang, Decoupled Knowledge Distillation, CVPR 2022, arXiv:2203.08679, equation 7",
        equation=r"T^2 \big(\alpha \mathrm{KL}(b^t \,\|\, b^s) + \beta \mathrm{KL}(\hat p^t \,\|\, \hat p^s)\big)",
        typical_weight="1 beside 1 of the supervised loss, warmed up linearly over the first 20 epochs",
        when="When the teacher is confident, so that kd hardly transfers how it shares out the other classes.",
        cost="Two softmaxes of both sides: O(B·C) time and memory.",
        sequences=True,
    ),
)
