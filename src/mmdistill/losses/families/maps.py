"""Losses between feature maps and between stages of convolutional networks.

Losses of one layer take ``student_maps`` and ``teacher_maps``, (B, C, *positions) with one to three axes of positions.
Losses over layers take ``student_stages`` and ``teacher_stages``, a tuple or list of such maps, shallow to deep; there
a lone tensor is a single stage, the same as a tuple of one.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry


def _reduction(by: str) -> Any:
    return Field(
        default="sum",
        description=f"Over the elements of a row. sum: as {by}, growing with the maps; mean: their mean.",
    )


def _stage_decay() -> Any:
    return Field(
        default=0.5,
        gt=0,
        le=1,
        description="Weight of a stage relative to the next deeper one. 0.5 is the authors'; 1 counts all alike.",
    )


class ATOptions(Options):
    """Options of `at`."""

    power: float = Field(
        default=2.0, ge=1, le=4, description="Of the responses; the higher, the more the strongest of them count."
    )
    distance: Literal["mean_square", "norm"] = Field(
        default="mean_square",
        description="Between attention maps. mean_square: the mean of the squares over positions (the authors' code "
        "and all ports); norm: the L2 norm, not squared (the paper's equation, torchdistill's paper form).",
    )
    absolute: bool = Field(
        default=True,
        description="Whether the power is that of the absolute value (paper); without, as in the ports, odd powers "
        "keep the sign, and only whole ones have a value.",
    )


class NSTOptions(Options):
    """Options of `nst`."""

    kernel: Literal["polynomial", "linear", "gaussian"] = Field(
        default="polynomial",
        description="Between channels. polynomial is the paper's best; gaussian sets its width to the mean squared "
        "distance of the pairs.",
    )
    degree: int = Field(default=2, ge=1, le=8, description="Of the polynomial kernel.")
    constant: float = Field(default=0.0, ge=0, description="Added to the inner product in the polynomial kernel.")


class ABOptions(Options):
    """Options of `ab`."""

    margin: float = Field(default=1.0, gt=0, description="How far from the boundary the student has to be.")
    stage_decay: float = _stage_decay()
    reduction: Literal["sum", "mean"] = _reduction("the paper and the authors' code")


class FTOptions(Options):
    """Options of `ft`."""

    rate: float = Field(
        default=0.5, gt=0, le=4, description="Channels of the factors as a share of the teacher's; the paper's k."
    )
    factor: float = Field(
        default=1.0, ge=0, description="Weight of the distance between the factors; 0 in the paper's first stage."
    )
    reconstruction: float = Field(
        default=1.0,
        ge=0,
        description="Weight of the paraphraser's reconstruction error; 0 in the paper's second stage, which leaves the "
        "paraphraser as it is.",
    )
    reconstruction_distance: Literal["square", "absolute"] = Field(
        default="square",
        description="Mean over the elements of the squares (the paper) or of the absolute values (the authors' code).",
    )
    factor_form: Literal["flattened", "attention"] = Field(
        default="flattened",
        description="What is divided by its L2 norm and compared. flattened: the whole factor (the paper, the "
        "authors); attention: its mean square over channels (RepDistiller).",
    )
    power: Literal[1, 2] = Field(
        default=1, description="Of the differences: 1 for absolute values (the paper), 2 for squares."
    )
    channel_power: int = Field(
        default=2, ge=1, le=4, description="Of the responses whose mean over channels is taken, with attention."
    )
    batch_norm: bool = Field(
        default=False,
        description="Whether the translator's convolutions are followed by batch normalisation (RepDistiller).",
    )

    @field_validator("reconstruction")
    @classmethod
    def _learns_something(cls, value: float, info: ValidationInfo) -> float:
        if value == 0 and info.data.get("factor") == 0:
            raise PydanticCustomError("nothing_to_learn", "must be above 0 where factor is 0")
        return value


class OFDOptions(Options):
    """Options of `ofd`."""

    stage_decay: float = _stage_decay()
    reduction: Literal["sum", "mean"] = _reduction("the paper, the authors' code and mdistiller")


class ReviewKDOptions(Options):
    """Options of `reviewkd`."""

    width: int = Field(
        default=512,
        ge=1,
        description="Channels that the fusion hands on from stage to stage, at most those of the student's last stage.",
    )


class FSPOptions(Options):
    """Options of `fsp`."""

    distance: Literal["sum", "mean", "norm"] = Field(
        default="sum",
        description="Between flow matrices. sum: of the squares (the paper); mean: of the squares (RepDistiller); "
        "norm: the norms of the columns, not squared, added up (torchdistill).",
    )
    pooling: Literal["max", "average"] = Field(
        default="max",
        description="How the larger map of two layers gets the size of the smaller. max: the paper, torchdistill; "
        "average: RepDistiller.",
    )


class KDSVDOptions(Options):
    """Options of `kdsvd`."""

    vectors: int = Field(default=1, ge=1, description="Singular vectors of the teacher that are kept; the paper's k.")
    layout: Literal["channels", "width"] = Field(
        default="channels",
        description="The matrix of a map. channels: positions × channels (the paper, RepDistiller); width: (channels · "
        "height) × width (mdistiller).",
    )


class CWDOptions(Options):
    """Options of `cwd`."""

    temperature: float = Field(
        default=4.0,
        gt=0,
        description="Divides both maps; higher lets a larger region of a channel count. The loss carries T².",
    )


class MGDOptions(Options):
    """Options of `mgd`."""

    ratio: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="Share of the student's map that is masked. The paper takes 0.5 for classification, 0.45 to 0.75 "
        "for dense prediction.",
    )
    masks: Literal["positions", "channels"] = Field(
        default="positions",
        description="positions: all channels of a position (the paper); channels: whole channels (the authors' code "
        "for classification, there with ratio 0.15).",
    )
    reduction: Literal["sum", "mean"] = _reduction("the paper and the authors' code")


_STAGES = ("student_stages", "teacher_stages")

ENTRIES = (
    LossEntry(
        name="at",
        target="mmdistill.losses.at:AT",
        options=ATOptions,
        summary="Distance between attention maps: where responses are strong, over all channels.",
        family="features",
        needs=_STAGES,
        paper="Zagoruyko, Komodakis, Paying More Attention to Attention, ICLR 2017, arXiv:1612.03928, equation 2",
        equation=r"\sum_j \tfrac{1}{P} \Big\| \tfrac{Q^s_j}{\|Q^s_j\|_2} - \tfrac{Q^t_j}{\|Q^t_j\|_2} \Big\|_2^2, "
        r"\quad Q = \sum_c |f_c|^p",
        typical_weight="1000 beside 1 of the supervised loss, kd beside it where there is one",
        when="The first thing to try with maps: it learns nothing of its own and needs no equal widths or sizes.",
        cost="O(B·C·P) time, O(B·P) memory beyond the maps.",
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("scale", "permutation"),
    ),
    LossEntry(
        name="nst",
        target="mmdistill.losses.nst:NST",
        options=NSTOptions,
        summary="Maximum mean discrepancy between the channels of both sides, each as a map of norm 1.",
        family="features",
        needs=_STAGES,
        paper="Huang, Wang, Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, 2017, "
        "arXiv:1707.01219, section 4",
        equation=r"\sum_j \overline{k(t, t')} + \overline{k(s, s')} - 2\,\overline{k(s, t)}, "
        r"\quad k(x, y) = (x^\top y + c)^d",
        typical_weight="50 beside 1 of the supervised loss",
        when="Where which positions fire together matters more than which channel does; pairs well with kd.",
        cost="O(B·C²·P) time and O(B·C²) memory; the linear kernel O(B·C·P).",
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("scale", "permutation"),
    ),
    LossEntry(
        name="ab",
        target="mmdistill.losses.ab:AB",
        options=ABOptions,
        summary="Hinge loss that puts each response of the student on the side of zero that the teacher's is on.",
        family="features",
        needs=_STAGES,
        paper="Heo, Lee, Yun, Choi, Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden "
        "Neurons, AAAI 2019, arXiv:1811.03233",
        equation=r"\sum_j 2^{j - n} \big\| [t_j > 0] \odot \sigma(\mu - r(s_j)) + [t_j \le 0] \odot "
        r"\sigma(\mu + r(s_j)) \big\|_2^2",
        typical_weight="0.003 with sum, 1 with mean, in a first stage of its own",
        when="To start a student off before the labels, on responses before the activation.",
        cost="O(B·C·P) time and memory, and a 1×1 convolution a stage: O(B·C²·P).",
        equality="none",
        by_row=False,
        pulls=False,
        equal_widths=False,
        learned=("connectors",),
    ),
    LossEntry(
        name="ft",
        target="mmdistill.losses.ft:FT",
        options=FTOptions,
        summary="Distance between factors: codes of an autoencoder of the teacher's map, and the student's translated.",
        family="features",
        needs=("student_maps", "teacher_maps"),
        paper="Kim, Park, Kwak, Paraphrasing Complex Network: Network Compression via Factor Transfer, NeurIPS 2018, "
        "arXiv:1802.04977, equation 4",
        equation=r"\Big\| \tfrac{F^t}{\|F^t\|_2} - \tfrac{F^s}{\|F^s\|_2} \Big\|_1",
        typical_weight="500 beside 1 of the supervised loss",
        when="When the teacher's maps are much wider than the student's; best in the paper's two stages.",
        cost="Nine 3×3 convolutions: O(B·C²·P) time, O(B·C·P) memory.",
        equality="none",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        learned=("paraphraser", "translator"),
    ),
    LossEntry(
        name="ofd",
        target="mmdistill.losses.ofd:OFD",
        options=OFDOptions,
        summary="Squared distance to the teacher before its ReLU, leaving out what both sides silence.",
        family="features",
        needs=_STAGES,
        paper="Heo, Kim, Yun, Park, Kwak, Choi, A Comprehensive Overhaul of Feature Distillation, ICCV 2019, "
        "arXiv:1904.01866, equation 5",
        equation=r"\sum_j 2^{j - n} \sum_i [\, s_i > \hat t_i \vee \hat t_i > 0 \,] (s_i - \hat t_i)^2, "
        r"\quad \hat t = \max(t, m)",
        typical_weight="0.001 with sum, 1 with mean, beside 1 of the supervised loss",
        when="One of the strongest feature losses between networks of one kind, on maps before the ReLU.",
        cost="O(B·C·P) time and memory, and a 1×1 convolution a stage: O(B·C²·P).",
        equality="none",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        learned=("connectors", "margins"),
    ),
    LossEntry(
        name="reviewkd",
        target="mmdistill.losses.reviewkd:ReviewKD",
        options=ReviewKDOptions,
        summary="The student's stages, fused from deep to shallow, against the teacher's at several scales.",
        family="features",
        needs=_STAGES,
        paper="Chen, Liu, Zhao, Jia, Distilling Knowledge via Knowledge Review, CVPR 2021, arXiv:2104.09044, "
        "section 3.4",
        equation=r"\sum_j \mathrm{HCL}\big(\mathrm{ABF}(s_j, \dots, s_n), t_j\big)",
        typical_weight="1 beside 1 of the supervised loss, warmed up linearly over the first 20 epochs",
        when="When deeper stages of the student can learn from shallower ones of the teacher; strong, but costly.",
        cost="Two convolutions a stage, one of them 3×3: O(B·C²·P) time, O(B·C·P) memory.",
        equality="none",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        learned=("fusions",),
    ),
    LossEntry(
        name="fsp",
        target="mmdistill.losses.fsp:FSP",
        options=FSPOptions,
        summary="Squared difference of the inner products between the channels of consecutive stages.",
        family="features",
        needs=_STAGES,
        paper="Yim, Joo, Bae, Kim, A Gift from Knowledge Distillation, CVPR 2017, equation 2",
        equation=r"\sum_j \Big\| \tfrac{1}{P} \big(X^s_j {X^s_{j+1}}^\top - X^t_j {X^t_{j+1}}^\top\big) \Big\|_F^2",
        typical_weight="1 with sum, 50 with mean, in a first stage of its own",
        when="For what happens between layers rather than in them; needs stages of equal widths.",
        cost="O(B·C²·P) time and O(B·C²) memory a pair of stages.",
        pulls=False,
        equal_sizes=False,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="kdsvd",
        target="mmdistill.losses.kdsvd:KDSVD",
        options=KDSVDOptions,
        summary="How the leading singular vectors of consecutive stages lie to each other, by radial basis functions.",
        family="features",
        needs=_STAGES,
        paper="Lee, Kim, Song, Self-supervised Knowledge Distillation Using Singular Value Decomposition, ECCV 2018, "
        "arXiv:1807.06819, section 3",
        equation=r"\sum_j \sum_{i, l} \Big( e^{-(v^s_{j, i} - v^s_{j+1, l})^2 / 8} - "
        r"e^{-(v^t_{j, i} - v^t_{j+1, l})^2 / 8} \Big)^2",
        typical_weight="1 beside 1 of the supervised loss",
        when="As fsp, where the maps are too wide for inner products of all channels to be meaningful.",
        cost="A singular value decomposition a row and stage, O(B·C·P·min(C, P)); on a GPU it waits for the device.",
        pulls=False,
        equal_sizes=False,
        invariances=("scale", "joint permutation"),
    ),
    LossEntry(
        name="cwd",
        target="mmdistill.losses.cwd:CWD",
        options=CWDOptions,
        summary="KL divergence between the channels of a map, each as a distribution over positions.",
        family="features",
        needs=("student_maps", "teacher_maps"),
        paper="Shu, Liu, Gao, Yan, Shen, Channel-wise Knowledge Distillation for Dense Prediction, ICCV 2021, "
        "arXiv:2011.13256, section 3.2",
        equation=r"\tfrac{T^2}{C} \sum_c \mathrm{KL}\big(\sigma(t_c / T) \,\|\, \sigma(s_c / T)\big)",
        typical_weight="50 for features, 3 for logits, beside 1 of the supervised loss",
        when="For dense prediction, where each channel marks a region.",
        cost="A softmax of both sides: O(B·C·P) time and memory.",
        pulls=False,
        invariances=("shift", "joint permutation"),
    ),
    LossEntry(
        name="mgd",
        target="mmdistill.losses.mgd:MGD",
        options=MGDOptions,
        summary="Squared error of the teacher's map as a small network generates it from the student's masked one.",
        family="features",
        needs=("student_maps", "teacher_maps", "row"),
        paper="Yang, Li, Shao, Shi, Yuan, Yuan, Masked Generative Distillation, ECCV 2022, arXiv:2205.01529, section 3",
        equation=r"\big\| t - G(s \odot M) \big\|_2^2",
        typical_weight="7e-5 (classification) or 2e-5 (dense prediction) with sum, 1 with mean",
        when="When plain imitation of the teacher's map is too strict; for classification and dense prediction alike.",
        cost="Two 3×3 convolutions: O(B·C²·P) time, O(B·C·P) memory.",
        equality="none",
        pulls=False,
        learned=("generation",),
    ),
)
