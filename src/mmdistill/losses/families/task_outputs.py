"""Losses between outputs that are not one class a row: yes or no, several labels, numbers, tokens, frames."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from mmdistill.catalog import NoOptions, Options
from mmdistill.losses.entry import LossEntry


class BinaryKDOptions(Options):
    """Options of `binary_kd`."""

    temperature: float = Field(
        default=4.0, gt=0, allow_inf_nan=False, description="Divides both logits. The loss carries T²."
    )
    reduction: Literal["mean", "sum"] = Field(default="mean", description="Over the outputs of a row.")


class MultilabelKDOptions(NoOptions):
    """Options of `multilabel_kd`: none."""


class RegressionKDOptions(Options):
    """Options of `regression_kd`."""

    distance: Literal["l2", "l1", "huber"] = Field(
        default="l2", description="Squared, absolute, or squared near zero and absolute beyond."
    )
    delta: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Difference at which huber turns from squared to absolute."
    )
    heteroscedastic: bool = Field(
        default=False,
        description="Whether differences count in the teacher's standard deviations; needs the tap of its variance.",
    )
    smallest_variance: float = Field(
        default=1e-4, gt=0, allow_inf_nan=False, description="Added to the teacher's variance."
    )


class BoundedRegressionOptions(Options):
    """Options of `bounded_regression`."""

    margin: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="By how much, in squared units, the student must be better than the teacher before a row is left.",
    )


class TokenKDOptions(Options):
    """Options of `token_kd`."""

    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Divides both logits. The loss carries T²."
    )
    average: Literal["positions", "rows"] = Field(
        default="positions",
        description="positions: all tokens of the batch count the same; rows: all rows do, whatever their length.",
    )


class FrameKDOptions(Options):
    """Options of `frame_kd`."""

    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Divides both logits. The loss carries T²."
    )
    blank: int | None = Field(default=None, ge=0, description="Class of the blank of a CTC model; null for none.")
    blank_weight: float = Field(
        default=0.0, ge=0, le=1, description="What a frame counts at which the teacher gives the blank."
    )
    context: int = Field(
        default=0, ge=0, description="Frames of the blank on each side of another class that count in full."
    )
    average: Literal["positions", "rows"] = Field(
        default="positions",
        description="positions: all frames of the batch count the same; rows: all rows do, whatever their length.",
    )

    @model_validator(mode="after")
    def _blank_is_known(self) -> Self:
        if self.blank is None and (self.blank_weight != 0 or self.context != 0):
            raise ValueError("blank_weight and context need the class of the blank: set blank")
        return self


ENTRIES = (
    LossEntry(
        name="binary_kd",
        target="mmdistill.losses.binary_kd:BinaryKD",
        options=BinaryKDOptions,
        summary="KL divergence between softened yes-or-no probabilities of each output, times T².",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("weight", "mask"),
        paper="Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015, arXiv:1503.02531, section 2",
        equation=r"\tfrac{T^2}{C} \sum_c \mathrm{KL}\big(\mathrm{B}(\sigma(z^t_c / T)) \,\|\, "
        r"\mathrm{B}(\sigma(z^s_c / T))\big)",
        typical_weight="0.9 beside 0.1 of the supervised loss",
        when="A yes-or-no output, or several that do not exclude each other; kd would make them compete.",
        cost="A sigmoid of both sides: O(B·C) time and memory.",
        sequences=True,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="multilabel_kd",
        target="mmdistill.losses.multilabel_kd:MultilabelKD",
        options=MultilabelKDOptions,
        summary="KL divergence between the yes-or-no probabilities of each label, summed over the labels.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("weight", "mask"),
        paper="Yang, Xie, Zong, Feng, Niu, Sugiyama, Huang, Multi-Label Knowledge Distillation, ICCV 2023, "
        "arXiv:2308.06453",
        equation=r"\sum_c \mathrm{KL}\big(\mathrm{B}(\sigma(z^t_c)) \,\|\, \mathrm{B}(\sigma(z^s_c))\big)",
        typical_weight="10 beside 1 of the supervised loss",
        when="Several labels a row; every label weighs the same, however many there are.",
        cost="A sigmoid of both sides: O(B·C) time and memory.",
        sequences=True,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="regression_kd",
        target="mmdistill.losses.regression_kd:RegressionKD",
        options=RegressionKDOptions,
        summary="Distance between the values of student and teacher: squared, absolute or Huber, by variance if given.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("teacher_variance", "weight", "mask"),
        paper="Chen, Choi, Yu, Han, Chandraker, Learning Efficient Object Detection Models with Knowledge "
        "Distillation, NIPS 2017, section 3.3 (where it is what teacher bounded regression improves on)",
        equation=r"\tfrac1D \sum_d \rho\big((y^s_d - y^t_d) / \sigma^t_d\big), \; \sigma^t_d = 1 "
        r"\text{ unless heteroscedastic}",
        typical_weight="1 beside 1 of the supervised loss",
        when="Tasks that predict numbers, most of all with unlabelled rows; huber or l1 where the teacher is sometimes "
        "far off.",
        cost="O(B·D) time and memory.",
        sequences=True,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="bounded_regression",
        target="mmdistill.losses.regression_kd:BoundedRegression",
        options=BoundedRegressionOptions,
        summary="The student's squared error, on rows where it is not yet better than the teacher's.",
        family="logits",
        needs=("student_logits", "teacher_logits", "target"),
        accepts=("labelled", "weight", "mask"),
        paper="Chen, Choi, Yu, Han, Chandraker, Learning Efficient Object Detection Models with Knowledge "
        "Distillation, NIPS 2017, section 3.3",
        equation=r"\|y^s - y\|^2 \; \big[\, \|y^s - y\|^2 + m > \|y^t - y\|^2 \,\big]",
        typical_weight="0.5 beside 1 of the supervised loss",
        when="Tasks that predict numbers, where the teacher's values can be worse than the targets.",
        cost="O(B·D) time and memory.",
        sequences=True,
        pulls=False,
    ),
    LossEntry(
        name="token_kd",
        target="mmdistill.losses.token_kd:TokenKD",
        options=TokenKDOptions,
        summary="kd at each token of a decoder, tokens without a label left out, averaged over tokens or over rows.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("target", "labelled", "weight", "mask"),
        paper="Kim, Rush, Sequence-Level Knowledge Distillation, EMNLP 2016, arXiv:1606.07947, section 3.1",
        equation=r"\frac{T^2}{|N|} \sum_{i \in N} \mathrm{KL}\big(\sigma(z^t_i / T) \,\|\, \sigma(z^s_i / T)\big)",
        typical_weight="0.5 beside 0.5 of the supervised loss",
        when="Language models and decoders of one vocabulary; topk_kl where the teacher's logits are stored.",
        cost="A softmax of both sides over the vocabulary: O(B·L·C) time and memory.",
        sequences=True,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="frame_kd",
        target="mmdistill.losses.frame_kd:FrameKD",
        options=FrameKDOptions,
        summary="kd at each frame of an acoustic model, with a weight for frames at which the teacher gives the blank.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("weight", "mask"),
        paper="Hilmes, Rossenbach, Schlüter, Analyzing the Importance of Blank for CTC-Based Knowledge Distillation, "
        "Interspeech 2025, arXiv:2506.01503",
        equation=r"\frac{T^2}{\sum_i w_i} \sum_i w_i \, "
        r"\mathrm{KL}\big(\sigma(z^t_i / T) \,\|\, \sigma(z^s_i / T)\big)",
        typical_weight="0.9 beside 0.1 of the CTC loss",
        when="Speech models with an output a frame; set blank for CTC models, or blanks teach nearly all there is.",
        cost="A softmax of both sides: O(B·frames·C) time and memory.",
        sequences=True,
        invariances=("shift",),
    ),
)
