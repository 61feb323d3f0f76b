"""Losses over logits with more structure: several levels, several exits, a learned temperature, rankings."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry

_Temperature = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class MLLDOptions(Options):
    """Options of `mlld`."""

    temperatures: tuple[_Temperature, ...] = Field(
        default=(2.0, 3.0, 4.0, 5.0, 6.0),
        min_length=1,
        description="Every term is summed over these. The authors put 2 in the place of 4 with standardised logits.",
    )
    instance_weight: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Weight of the divergence row by row, which carries T²."
    )
    batch_weight: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Weight of the similarities between the rows of a batch."
    )
    class_weight: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Weight of the similarities between classes."
    )
    standardise: bool = Field(
        default=False,
        description="Whether the instance term sees logits with mean 0 and standard deviation 1 a row (Sun et al.); "
        "the others see them as they are.",
    )
    selection: Literal["all", "published"] = Field(
        default="all",
        description="all: every row and class counts (paper); published: each term is scaled by the share of rows, or "
        "classes, that the teacher is not surer of than of the median (what the authors' code does).",
    )

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if self.instance_weight == self.batch_weight == self.class_weight == 0:
            raise ValueError("one of instance_weight, batch_weight and class_weight must be above 0")
        return self


class OFAOptions(Options):
    """Options of `ofa`."""

    gamma: float = Field(
        default=1.5,
        ge=1,
        allow_inf_nan=False,
        description="Exponent that enhances the target: the authors take 1 for CIFAR-100, where nothing is enhanced, "
        "and 1.5 for ImageNet.",
    )
    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Divides both logits. The loss carries T²."
    )
    others: Literal["plain", "raised"] = Field(
        default="plain",
        description="Weight of the other classes. plain: their probability (paper); raised: it to the power of gamma "
        "(the authors' code).",
    )


class CTKDOptions(Options):
    """Options of `ctkd`."""

    form: Literal["global", "instance"] = Field(
        default="global",
        description="global: one temperature for all rows; instance: a small network gives each row its own from both "
        "predictions.",
    )
    lowest: float = Field(default=1.0, gt=0, allow_inf_nan=False, description="Lower end of the temperature.")
    span: float = Field(
        default=20.0, gt=0, allow_inf_nan=False, description="The upper end is this much above the lower one."
    )
    strength: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="Of the reversed gradient, once the curriculum has reached its end; 0 holds the temperature still.",
    )
    rise: float = Field(
        default=0.04,
        ge=0,
        le=1,
        description="Share of the training over which the strength rises from 0, along half a cosine. The authors take "
        "10 of 240 epochs.",
    )
    hidden: int = Field(default=128, ge=1, description="Width of the network of the instance form.")


class ListwiseKDOptions(Options):
    """Options of `listwise_kd`."""

    form: Literal["list_mle", "plackett_luce", "list_net"] = Field(
        default="list_mle",
        description="list_mle: how likely the teacher's order is (Xia et al.); plackett_luce: each place weighted by "
        "the teacher's probability of its item; list_net: KL between the probabilities of being first (Cao et al.).",
    )
    top: int | None = Field(
        default=None, ge=1, description="How many of the first places count; null for all. Not with list_net."
    )
    temperature: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Divides the scores of both sides; list_net carries T²."
    )

    @model_validator(mode="after")
    def _has_places(self) -> Self:
        if self.form == "list_net" and self.top is not None:
            raise ValueError("list_net has no places that top could count")
        return self


class BatchListwiseKDOptions(ListwiseKDOptions):
    """Options of `batch_listwise_kd`."""


class PLDOptions(Options):
    """Options of `pld`."""

    temperature: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="Divides the teacher's logits in the weights of the places; higher weighs later places more.",
    )


ENTRIES = (
    LossEntry(
        name="mlld",
        target="mmdistill.losses.mlld:MLLD",
        options=MLLDOptions,
        summary="kd at several temperatures, with the similarities between rows and between classes.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        paper="Jin, Wang, Lin, Multi-Level Logit Distillation, CVPR 2023",
        equation=r"\sum_T \Big( T^2 \mathrm{KL}(P^t_T \,\|\, P^s_T) "
        r"+ \tfrac1B \big\|P^t_T P^{t\top}_T - P^s_T P^{s\top}_T\big\|^2 "
        r"+ \tfrac1C \big\|P^{t\top}_T P^t_T - P^{s\top}_T P^s_T\big\|^2 \Big)",
        typical_weight="0.9 beside 0.1 of the supervised loss; 9 with standardised logits",
        when="When kd is the base and only logits are at hand: the strongest of the published losses of logits alone, "
        "with long training and strong augmentation.",
        cost="Five softmaxes of both sides and O(B²·C + B·C²) for the Gram matrices of each temperature.",
        by_row=False,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="ofa",
        target="mmdistill.losses.ofa:OFA",
        options=OFAOptions,
        summary="Soft cross-entropy in which the target counts the more, the surer the teacher is of it.",
        family="logits",
        needs=("student_logits", "teacher_logits", "target"),
        accepts=("labelled", "weight", "mask"),
        paper="Hao, Guo, Han, Tang, Hu, Wang, Xu, One-for-All: Bridge the Gap Between Heterogeneous Architectures in "
        "Knowledge Distillation, NeurIPS 2023, arXiv:2310.19444",
        equation=r"-\big((1 + p^t_y)^\gamma - 1\big) \log p^s_y - \sum_{c \ne y} p^t_c \log p^s_c",
        typical_weight="1 for each exit and for the final logits, beside 1 of the supervised loss",
        when="When teacher and student are of different kinds (transformer and convolutional network), on the final "
        "logits and on exits after the student's stages.",
        cost="A softmax of both sides: O(B·C) time and memory, for each exit.",
        equality="none",
        pulls=False,
        sequences=True,
        invariances=("shift",),
    ),
    LossEntry(
        name="ctkd",
        target="mmdistill.losses.ctkd:CTKD",
        options=CTKDOptions,
        summary="kd whose temperature is learnt against the student, harder as training goes on.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("progress", "weight", "mask"),
        paper="Li, Li, Yang, Zhao, Song, Luo, Li, Yang, Curriculum Temperature for Knowledge Distillation, AAAI 2023, "
        "arXiv:2211.16231",
        equation=r"\min_\theta \max_\phi \; \tau_\phi^2 \, "
        r"\mathrm{KL}\big(\sigma(z^t / \tau_\phi) \,\|\, \sigma(z^s_\theta / \tau_\phi)\big)",
        typical_weight="0.9 beside 0.1 of the supervised loss",
        when="When there is no time to search for the temperature of kd.",
        cost="As kd, and with a temperature a row a network of 2·C·128 weights.",
        sequences=True,
        exact_gradient=False,
        learned=("temperature_of",),
        invariances=("shift",),
    ),
    LossEntry(
        name="listwise_kd",
        target="mmdistill.losses.listwise_kd:ListwiseKD",
        options=ListwiseKDOptions,
        summary="The teacher's order of the classes of a row: ListMLE, weighted Plackett-Luce or ListNet.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        accepts=("weight", "mask"),
        paper="Cao, Qin, Liu, Tsai, Li, Learning to Rank: From Pairwise Approach to Listwise Approach, ICML 2007; "
        "Xia, Liu, Wang, Zhang, Li, Listwise Approach to Learning to Rank: Theory and Algorithm, ICML 2008",
        equation=r"\sum_k w_k \Big( \log \sum_{j \ge k} e^{z^s_{\pi(j)}} - z^s_{\pi(k)} \Big), \; "
        r"\pi = \mathrm{argsort}(-z^t)",
        typical_weight="1 / C with list_mle, 1 otherwise, beside 1 of the supervised loss",
        when="Where the order of many candidates counts and not their probabilities: retrieval, recommendation.",
        cost="A sort of the teacher: O(B·C·log C) time, O(B·C) memory; O(B·C) with top.",
        equality="none",
        sequences=True,
        pulls=False,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="batch_listwise_kd",
        target="mmdistill.losses.listwise_kd:BatchListwiseKD",
        options=BatchListwiseKDOptions,
        summary="The teacher's order of the rows of a batch, for each output: ListMLE, Plackett-Luce or ListNet.",
        family="logits",
        needs=("student_logits", "teacher_logits"),
        paper="Cao, Qin, Liu, Tsai, Li, Learning to Rank: From Pairwise Approach to Listwise Approach, ICML 2007; "
        "Xia, Liu, Wang, Zhang, Li, Listwise Approach to Learning to Rank: Theory and Algorithm, ICML 2008",
        equation=r"\tfrac1C \sum_c \tfrac1B \sum_k \Big( \log \sum_{j \ge k} e^{z^s_{\pi_c(j), c}} "
        r"- z^s_{\pi_c(k), c} \Big), \; \pi_c = \mathrm{argsort}(-z^t_{\cdot, c})",
        typical_weight="1 beside 1 of the supervised loss",
        when="Scores that rank rows: relevance, risk, quality; with regression_kd where the values count as well.",
        cost="A sort of the batch for each output: O(C·B·log B) time, O(B·C) memory.",
        equality="none",
        by_row=False,
        pulls=False,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="pld",
        target="mmdistill.losses.pld:PLD",
        options=PLDOptions,
        summary="The teacher's ranking with the target first, each place weighted by the teacher's probability.",
        family="logits",
        needs=("student_logits", "teacher_logits", "target"),
        accepts=("labelled", "weight", "mask"),
        paper="Bassam, Zhu, Bian, PLD: A Choice-Theoretic List-Wise Knowledge Distillation, NeurIPS 2025, "
        "arXiv:2506.12542",
        equation=r"\sum_k p^t_{\pi(k)} \Big( \log \sum_{j \ge k} e^{z^s_{\pi(j)}} - z^s_{\pi(k)} \Big), \; "
        r"\pi = (y, \text{the rest by } z^t)",
        typical_weight="1, in the place of the supervised loss or beside it",
        when="When one loss is to replace the balance of a supervised and a distillation loss.",
        cost="A sort of the teacher: O(B·C·log C) time, O(B·C) memory.",
        equality="none",
        sequences=True,
        pulls=False,
        invariances=("shift",),
    ),
)
