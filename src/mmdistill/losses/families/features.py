"""Losses between the features and the last feature maps of student and teacher."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry


class FitNetsOptions(Options):
    """Options of `fitnets`."""

    reduction: Literal["mean", "half_sum"] = Field(
        default="mean",
        description="Over the values of a row or position. mean: of the squares, as all implementations do; half_sum: "
        "half of their sum, as the paper writes it.",
    )


class CosineFeaturesOptions(Options):
    """`cosine_features` has no options."""


class NormalisedMSEOptions(Options):
    """Options of `normalised_mse`."""

    reduction: Literal["mean", "sum"] = Field(
        default="mean",
        description="Over the channels. mean: of the squares; sum: the squared distance, twice the cosine loss.",
    )


class VIDOptions(Options):
    """Options of `vid`."""

    initial_variance: float = Field(
        default=5.0,
        gt=1e-4,
        le=1e4,
        allow_inf_nan=False,
        description="Variance of every channel before training, in squared units of the teacher's features.",
    )
    smallest_variance: float = Field(
        default=1e-5, gt=0, le=1e-4, description="What no variance falls below, in the same units."
    )
    hidden: int | None = Field(
        default=None,
        ge=1,
        description="Width of the two hidden layers of the mean network; the teacher's when left out.",
    )


class SimKDOptions(Options):
    """`simkd` has no options."""


class CATKDOptions(Options):
    """Options of `catkd`."""

    resolution: int = Field(
        default=2, ge=1, le=64, description="Cells along each spatial axis that activation maps are averaged over."
    )
    normalise: bool = Field(
        default=True, description="Divide each class's pooled map by its L2 norm, so that only its shape counts."
    )
    binarise: bool = Field(
        default=False,
        description="Replace the teacher's map by 1 where it is above its mean absolute value, and 0 elsewhere (the "
        "paper's ablation).",
    )


class FrequencyFeaturesOptions(Options):
    """Options of `frequency_features`."""

    cutoff: float = Field(
        default=0.5, gt=0, lt=1, description="Share of the highest frequency up to which a frequency is low."
    )
    low_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="Weight of the low band.")
    high_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False, description="Weight of the high band.")


_FEATURES = ("student_features", "teacher_features")
_MAPS = ("student_maps", "teacher_maps")

ENTRIES = (
    LossEntry(
        name="fitnets",
        target="mmdistill.losses.fitnets:FitNets",
        options=FitNetsOptions,
        summary="Mean squared error between features, hidden states or maps; its adapter is the hint regressor.",
        family="features",
        needs=_FEATURES,
        accepts=("weight", "mask"),
        paper="Romero, Ballas, Kahou, Chassang, Gatta, Bengio, FitNets: Hints for Thin Deep Nets, ICLR 2015, "
        "arXiv:1412.6550, equation 3",
        equation=r"\tfrac{1}{D} \, \| r(f^s) - f^t \|_2^2",
        typical_weight="100 beside 1 of the supervised loss; 1 as the only loss of a first stage, as in the paper",
        when="The plainest loss on features: a first stage before a loss on logits, or beside one.",
        cost="The adapter, and O(B·D) time and memory.",
        sequences=True,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="cosine_features",
        target="mmdistill.losses.cosine_features:CosineFeatures",
        options=CosineFeaturesOptions,
        summary="One minus the cosine between features.",
        family="features",
        needs=_FEATURES,
        accepts=("weight", "mask"),
        paper="Sanh, Debut, Chaumond, Wolf, DistilBERT, a distilled version of BERT, NeurIPS workshop 2019, "
        "arXiv:1910.01108, section 2",
        equation=r"1 - \frac{\langle f^s, f^t \rangle}{\|f^s\| \, \|f^t\|}",
        typical_weight="1 beside 5 of kd and 2 of the supervised loss",
        when="When the direction of an embedding carries its meaning and the length does not: retrieval, transformers.",
        cost="O(B·D) time and memory.",
        sequences=True,
        invariances=("scale", "joint permutation"),
    ),
    LossEntry(
        name="normalised_mse",
        target="mmdistill.losses.normalised_mse:NormalisedMSE",
        options=NormalisedMSEOptions,
        summary="Mean squared error between features of length 1.",
        family="features",
        needs=_FEATURES,
        accepts=("weight", "mask"),
        paper="Navaneet, Koohpayegani, Tejankar, Pirsiavash, SimReg: Regression as a Simple Yet Effective Tool for "
        "Self-supervised Knowledge Distillation, BMVC 2021, arXiv:2201.05131, section 3",
        equation=r"\tfrac{1}{D} \left\| \frac{f^s}{\|f^s\|} - \frac{f^t}{\|f^t\|} \right\|_2^2",
        typical_weight="1 with the sum; D with the mean",
        when="To distil an encoder without labels, through an MLP adapter.",
        cost="O(B·D) time and memory.",
        sequences=True,
        invariances=("scale", "joint permutation"),
    ),
    LossEntry(
        name="vid",
        target="mmdistill.losses.vid:VID",
        options=VIDOptions,
        summary="How surprising the teacher's features are under a Gaussian predicted from the student's.",
        family="features",
        needs=_FEATURES,
        accepts=("weight", "mask"),
        paper="Ahn, Hu, Damianou, Lawrence, Dai, Variational Information Distillation for Knowledge Transfer, CVPR "
        "2019, arXiv:1904.05835, equations 5 and 6",
        equation=r"\tfrac{1}{2D} \sum_c \frac{(f^t_c - \mu_c(f^s))^2}{\sigma_c^2} + \log \sigma_c^2",
        typical_weight="1 beside 1 of the supervised loss",
        when="When the student cannot predict some channels of the teacher: their variance grows and they count less.",
        cost="Three linear maps over the channels at each position, with their parameters; O(B·D) otherwise.",
        equality="none",
        sequences=True,
        pulls=False,
        equal_widths=False,
        learned=("mean_network", "scale"),
    ),
    LossEntry(
        name="simkd",
        target="mmdistill.losses.simkd:SimKD",
        options=SimKDOptions,
        summary="Mean squared error between what the head reads, maps at the smaller size; for a reused teacher head.",
        family="features",
        needs=_FEATURES,
        paper="Chen, Mei, Zhang, Wang, Feng, Chen, Knowledge Distillation with the Reused Teacher Classifier, CVPR "
        "2022, arXiv:2203.14001, equation 4",
        equation=r"\tfrac{1}{C H W} \, \| f^t - p(f^s) \|_2^2",
        typical_weight="1, the only loss",
        when="When the student may keep the teacher's head: then features are all there is to learn.",
        cost="The projector, which stays in the student, and time and memory of the size of the features.",
        equal_sizes=False,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="catkd",
        target="mmdistill.losses.catkd:CATKD",
        options=CATKDOptions,
        summary="Mean squared error between pooled, normalised class activation maps.",
        family="features",
        needs=_MAPS,
        accepts=("student_head_weight", "teacher_head_weight", "weight"),
        paper="Guo, Yan, Li, Lin, Class Attention Transfer Based Knowledge Distillation, CVPR 2023, arXiv:2304.12777, "
        "equations 4 to 6",
        equation=r"\tfrac{1}{C k^2} \sum_c \left\| \frac{A^s_c}{\|A^s_c\|} - \frac{A^t_c}{\|A^t_c\|} \right\|_2^2, "
        r"\quad A_c = \mathrm{pool}\Big(\sum_j w_{cj} f_j\Big)",
        typical_weight="400 (50 to 400) beside 1 of the supervised loss",
        when="For images, when where the teacher looks for each class should be passed on in a readable form.",
        cost="The head at each position: O(B·C·D·H·W) time, O(B·C·H·W) memory.",
        pulls=False,
        equal_widths=False,
        equal_sizes=False,
        invariances=("joint permutation",),
    ),
    LossEntry(
        name="frequency_features",
        target="mmdistill.losses.frequency_features:FrequencyFeatures",
        options=FrequencyFeaturesOptions,
        summary="Features split by frequency: squared error of the low band, of the log-compressed high band.",
        family="features",
        needs=_FEATURES,
        accepts=("weight", "mask"),
        paper="Liu, Zhang, Huang, Xu, Yang, Distilling Cross-Modal Knowledge via Feature Disentanglement, AAAI 2026, "
        "arXiv:2511.19887",
        equation=r"\tfrac{\lambda_l}{D} \, \| \hat f^s_{low} - \hat f^t_{low} \|_2^2 + \tfrac{\lambda_h}{D} \, "
        r"\| \psi(\hat f^s_{high}) - \psi(\hat f^t_{high}) \|_2^2, \quad \psi(x) = \mathrm{sign}(x) \log(1 + |x|)",
        typical_weight="1 as published; about D to be as large as other losses on features",
        when="When teacher and student read different modalities, which agree in the rough shape of features only.",
        cost="Two Fourier transforms of each side: O(B·D·log D) time, O(B·D) memory.",
        sequences=True,
        pulls=False,
        invariances=("shift", "scale"),
    ),
)
