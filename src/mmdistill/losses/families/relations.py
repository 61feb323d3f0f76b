"""Losses between the relations of rows, as each side sees them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry


class SPOptions(Options):
    """Options of `sp`."""

    norm: Literal["l2", "l1"] = Field(
        default="l2",
        description="What divides the rows of the similarities. l2: their length (paper); l1: the sum of absolute "
        "values (torchdistill).",
    )


class CCOptions(Options):
    """Options of `cc`."""

    form: Literal["kernel", "consecutive"] = Field(
        default="kernel",
        description="kernel: correlations of all pairs of rows (paper); consecutive: products of the differences of "
        "neighbours in the batch (RepDistiller, from code of the authors), which reads no other option.",
    )
    kernel: Literal["gaussian", "bilinear"] = Field(
        default="gaussian", description="gaussian: a cut series of exp(−gamma · distance²); bilinear: products of rows."
    )
    gamma: float = Field(default=0.4, gt=0, allow_inf_nan=False, description="Of the Gaussian kernel.")
    order: int = Field(default=2, ge=1, le=10, description="Terms of the series of the Gaussian kernel.")
    normalize: bool = Field(
        default=True, description="Whether rows are divided by their length first; torchdistill does not."
    )
    reduction: Literal["mean_square", "norm"] = Field(
        default="mean_square",
        description="Of the difference of the kernels. mean_square: squares over B² (paper); norm: its norm over B² "
        "(torchdistill).",
    )


def _measure() -> Any:
    return Field(
        default="length",
        description="Of the difference of two rows. length: the distance (paper); square: its square, which far pairs "
        "rule (an option of the authors' code).",
    )


class RKDDistanceOptions(Options):
    """Options of `rkd_distance`."""

    measure: Literal["length", "square"] = _measure()


class RKDAngleOptions(Options):
    """Options of `rkd_angle`: none."""


class RKDOptions(Options):
    """Options of `rkd`."""

    distance_weight: float = Field(
        default=25.0, ge=0, allow_inf_nan=False, description="Weight of the distances of pairs."
    )
    angle_weight: float = Field(
        default=50.0, ge=0, allow_inf_nan=False, description="Weight of the angles of triplets."
    )
    measure: Literal["length", "square"] = _measure()


class DarkRankOptions(Options):
    """Options of `dark_rank`."""

    alpha: float = Field(default=3.0, gt=0, allow_inf_nan=False, description="Factor of the scores of neighbours.")
    beta: float = Field(default=3.0, ge=1, le=10, description="Exponent of the distance in the score of a neighbour.")
    length: int = Field(default=4, ge=2, description="How many of the teacher's nearest neighbours are ordered.")


class PKTOptions(Options):
    """Options of `pkt`."""

    form: Literal["paper", "code"] = Field(
        default="paper",
        description="paper: a divergence over the other rows; code: the row itself counts too, and the mean is over "
        "all B² entries (the authors' code and all toolkits).",
    )
    epsilon: float = Field(
        default=1e-7,
        gt=0,
        le=1e-2,
        description="Smallest affinity of two rows; with form: code, what is added to lengths and probabilities.",
    )


class CKAOptions(Options):
    """Options of `cka`."""

    kernel: Literal["linear", "rbf"] = Field(default="linear", description="What compares two rows of a side.")
    bandwidth: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Of the rbf kernel, in median distances between rows."
    )
    estimator: Literal["biased", "debiased"] = Field(
        default="biased",
        description="biased: the usual estimate, too high in small batches; debiased: right on average, needs at least "
        "four rows.",
    )


class CRDOptions(Options):
    """Options of `crd`."""

    dimension: int = Field(default=128, ge=1, description="Width of the embeddings that are compared and remembered.")
    negatives: int = Field(default=16384, ge=1, description="Other rows that a row is contrasted with, at most all.")
    temperature: float = Field(default=0.07, gt=0, allow_inf_nan=False, description="Divides the cosines.")
    momentum: float = Field(
        default=0.5, ge=0, lt=1, description="Share of the old embedding when a remembered one is replaced."
    )
    epsilon: float = Field(
        default=0.0,
        ge=0,
        le=1e-2,
        description="Added to the denominators of the probabilities; the authors' code has 1e-7, and needs it.",
    )
    negatives_from: Literal["other_classes", "other_rows"] = Field(
        default="other_classes",
        description="other_classes: rows of other classes, where targets are known; other_rows: any other row.",
    )
    memory_precision: Literal["float16", "float32"] = Field(
        default="float16", description="Of the memory banks: 2 or 4 bytes a number, dimension numbers a row and side."
    )


_FEATURES = ("student_features", "teacher_features")
_PARK = "Park, Kim, Lu, Cho, Relational Knowledge Distillation, CVPR 2019, arXiv:1904.05068"
_TRIPLETS = "All triplets: O(B³) memory, O(B³·D) time; from some hundred rows on it is felt."

ENTRIES: tuple[LossEntry, ...] = (
    LossEntry(
        name="sp",
        target="mmdistill.losses.sp:SP",
        options=SPOptions,
        summary="Which rows of a batch are alike: squared difference of the row-normalised similarity matrices.",
        family="relations",
        needs=_FEATURES,
        paper="Tung, Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019, arXiv:1907.09682, equation 4",
        equation=r"\tfrac{1}{B^2} \| G^s - G^t \|_F^2, \quad G_{i:} = F_i F^\top / \| F_i F^\top \|_2",
        typical_weight="3000 on the last feature maps beside 1 of the supervised loss",
        when="Features of different widths and meanings, or modalities, where only similarities can be compared.",
        cost="All pairs: O(B²·D) time, O(B²) memory.",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("scale", "permutation", "rotation"),
    ),
    LossEntry(
        name="cc",
        target="mmdistill.losses.cc:CC",
        options=CCOptions,
        summary="Correlations of the rows of a batch by a Gaussian or bilinear kernel.",
        family="relations",
        needs=_FEATURES,
        paper="Peng, Jin, Liu et al., Correlation Congruence for Knowledge Distillation, ICCV 2019, arXiv:1904.01802, "
        "equations 7 and 10",
        equation=r"\tfrac{1}{B^2} \| K^s - K^t \|_F^2, \quad "
        r"K_{ij} = e^{-2\gamma} \sum_{p=0}^{P} \tfrac{(2\gamma)^p}{p!} (f_i \cdot f_j)^p",
        typical_weight="100 (0.02 with the consecutive form, in RepDistiller)",
        when="Beside kd, where the spread of the classes should be kept; batches need several rows of a class.",
        cost="All pairs: O(B²·D) time, O(B²) memory.",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("permutation", "rotation"),
    ),
    LossEntry(
        name="rkd_distance",
        target="mmdistill.losses.rkd:RKDDistance",
        options=RKDDistanceOptions,
        summary="Distances of all pairs of rows, in units of each side's mean distance.",
        family="relations",
        needs=_FEATURES,
        paper=f"{_PARK}, equation 6",
        equation=r"\tfrac{1}{B^2} \sum_{i,j} \ell_\delta\big(\| s_i - s_j \| / \mu^s, \| t_i - t_j \| / \mu^t\big)",
        typical_weight="25 beside 1 of the supervised loss; 1 for metric learning",
        when="Embeddings that are compared by distance; widths may differ.",
        cost="All pairs: O(B²·D) time, O(B²) memory.",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("scale", "permutation", "rotation"),
    ),
    LossEntry(
        name="rkd_angle",
        target="mmdistill.losses.rkd:RKDAngle",
        options=RKDAngleOptions,
        summary="Angles of all triplets of rows.",
        family="relations",
        needs=_FEATURES,
        paper=f"{_PARK}, equation 9",
        equation=r"\tfrac{1}{B^3} \sum_{i,j,k} \ell_\delta\big(\cos \angle s_j s_i s_k, \cos \angle t_j t_i t_k\big)",
        typical_weight="50 beside 1 of the supervised loss; 2 for metric learning",
        when="As rkd_distance, where sizes mean nothing; says more than distances do, and costs more.",
        cost=_TRIPLETS,
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("scale", "permutation", "rotation"),
    ),
    LossEntry(
        name="rkd",
        target="mmdistill.losses.rkd:RKD",
        options=RKDOptions,
        summary="Distances of pairs and angles of triplets of rows together.",
        family="relations",
        needs=_FEATURES,
        paper=f"{_PARK}, equations 6, 9 and 11",
        equation=r"\lambda_D \mathcal{L}_\mathrm{distance} + \lambda_A \mathcal{L}_\mathrm{angle}",
        typical_weight="1, as 25 and 50 are inside",
        when="The usual form of relational distillation.",
        cost=_TRIPLETS,
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("scale", "permutation", "rotation"),
    ),
    LossEntry(
        name="dark_rank",
        target="mmdistill.losses.dark_rank:DarkRank",
        options=DarkRankOptions,
        summary="Likelihood of the order in which the teacher sees each row's nearest neighbours.",
        family="relations",
        needs=_FEATURES,
        paper="Chen, Wang, Zhang, DarkRank: Accelerating Deep Metric Learning via Cross Sample Similarities Transfer, "
        "AAAI 2018, arXiv:1707.01220, equation 5",
        equation=r"-\tfrac{1}{B} \sum_i \log \prod_{m=1}^{M} "
        r"\frac{e^{S(\pi_m)}}{\sum_{k \ge m} e^{S(\pi_k)}}, \quad S(j) = -\alpha \| s_i - s_j \|^\beta",
        typical_weight="2 beside the losses of metric learning",
        when="Retrieval, where the order of neighbours counts; embeddings of length 1.",
        cost="All pairs: O(B²·D) time, O(B²) memory.",
        equality="none",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("permutation", "rotation"),
    ),
    LossEntry(
        name="pkt",
        target="mmdistill.losses.pkt:PKT",
        options=PKTOptions,
        summary="KL divergence between each row's probabilities of the other rows, by cosine.",
        family="relations",
        needs=_FEATURES,
        paper="Passalis, Tefas, Learning Deep Representations with Probabilistic Knowledge Transfer, ECCV 2018, "
        "arXiv:1803.10837, equation 8",
        equation=r"\tfrac{1}{B} \sum_i \sum_{j \ne i} p^t_{j|i} \log \frac{p^t_{j|i}}{p^s_{j|i}}, \quad "
        r"p_{j|i} \propto \tfrac{1}{2} (\cos(f_i, f_j) + 1)",
        typical_weight="500; 30000 with form: code",
        when="Retrieval and features of different widths or modalities; takes a set of weights as it is.",
        cost="All pairs: O(B²·D) time, O(B²) memory.",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("scale", "permutation", "rotation"),
    ),
    LossEntry(
        name="cka",
        target="mmdistill.losses.cka:CKA",
        options=CKAOptions,
        summary="One minus the centred kernel alignment of the two sides' rows.",
        family="relations",
        needs=_FEATURES,
        paper="Kornblith, Norouzi, Lee, Hinton, Similarity of Neural Network Representations Revisited, ICML 2019, "
        "arXiv:1905.00414, sections 3 and 4",
        equation=r"1 - \frac{\mathrm{HSIC}(K^s, K^t)}{\sqrt{\mathrm{HSIC}(K^s, K^s) \, \mathrm{HSIC}(K^t, K^t)}}",
        typical_weight="1 beside 1 of the supervised loss",
        when="Any two layers, of any widths, without an adapter; larger batches say more.",
        cost="All pairs: O(B²·D) time, O(B²) memory.",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("scale", "permutation", "rotation"),
    ),
    LossEntry(
        name="crd",
        target="mmdistill.losses.crd:CRD",
        options=CRDOptions,
        summary="Each side tells its row among thousands of remembered rows of the other side.",
        family="relations",
        needs=("student_features", "teacher_features", "row"),
        paper="Tian, Krishnan, Isola, Contrastive Representation Distillation, ICLR 2020, arXiv:1910.10699, "
        "equation 19",
        equation=r"-\log h(s, t) - \sum_{k=1}^{K} \log\big(1 - h(s, t_k)\big) + (s \leftrightarrow t), \quad "
        r"h(s, t) = \frac{e^{s \cdot t / \tau} / Z}{e^{s \cdot t / \tau} / Z + K / N}",
        typical_weight="0.8 beside 1 of the supervised loss, alone or with kd",
        when="Features, where many rows are there to contrast with; strong beside kd, and across modalities.",
        cost="Memory of 4·D bytes a training row (fp16, both sides); a step gathers 2·B·K·D numbers, whatever the "
        "number of rows.",
        equality="none",
        by_row=False,
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        learned=("student_head", "teacher_head", "memory"),
    ),
)
