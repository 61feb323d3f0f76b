"""Losses between the image and text embeddings of dual encoders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.losses.entry import LossEntry

Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Width = Annotated[int, Field(ge=1)]


class CLIPKDFeatureOptions(Options):
    """Options of `clipkd_feature`."""

    reduction: Literal["sum", "mean"] = Field(
        default="sum", description="Over the numbers of an embedding. sum: as in the paper; mean: the authors' code."
    )


class CLIPKDRelationOptions(Options):
    """Options of `clipkd_relation`."""

    student_scale: Scale = Field(
        default=100.0, description="Factor of the student's cosines, where it has no tap logit_scale."
    )
    teacher_scale: Scale = Field(
        default=100.0, description="Factor of the teacher's cosines, where it has no tap logit_scale."
    )


class CLIPKDGradientOptions(CLIPKDRelationOptions):
    """Options of `clipkd_gradient`."""

    form: Literal["paper", "code"] = Field(
        default="paper",
        description="paper: gradients of the contrastive loss; code: those of logits divided by the scale, each "
        "direction apart, mean over the numbers of an embedding (the authors' code).",
    )


class CLIPKDInteractiveOptions(Options):
    """Options of `clipkd_interactive`."""

    scale_form: Literal["exponential", "as_is"] = Field(
        default="exponential",
        description="What the learned number is of the factor of cosines. exponential: its logarithm, at most log 100 "
        "(CLIP); as_is: the factor itself, which starts at log(1 / 0.07) (the authors' code).",
    )


class CLIPKDCrossOptions(CLIPKDInteractiveOptions):
    """Options of `clipkd_cross`."""

    teacher_scale: Scale = Field(default=100.0, description="Factor of the teacher's cosines.")


class CLIPKDAugmentedOptions(CLIPKDInteractiveOptions):
    """Options of `clipkd_augmented`."""


class TinyCLIPAffinityOptions(Options):
    """Options of `tinyclip_affinity`."""

    student_scale: Scale = Field(
        default=50.0, description="Factor of the student's cosines, where it has no tap logit_scale."
    )
    teacher_scale: Scale = Field(
        default=50.0, description="Factor of the teacher's cosines, where it has no tap logit_scale."
    )
    normalize: bool = Field(
        default=True,
        description="Whether embeddings are divided by their length first; the source takes them as given.",
    )
    candidates: Literal["learn", "fixed"] = Field(
        default="learn",
        description="Whether the embeddings that an anchor is matched with receive gradient too; fixed: the anchors "
        "alone, as in the authors' code where features are gathered without gradient.",
    )


class MobileCLIPOptions(Options):
    """Options of `mobileclip`."""

    contrastive_weight: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="Of the student's own contrastive loss."
    )
    distillation_weight: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Of the cross-entropy against the teachers."
    )
    teacher_widths: tuple[Width, ...] = Field(
        default=(), description="Width of each teacher in the teacher's embeddings; empty: one teacher."
    )
    student_scale: Scale = Field(
        default=100.0, description="Factor of the student's cosines, where it has no tap logit_scale."
    )
    teacher_scales: tuple[Scale, ...] = Field(
        default=(100.0,), min_length=1, description="Factor of the teachers' cosines: one, or one a teacher."
    )
    normalize: bool = Field(
        default=True,
        description="Whether embeddings are divided by their length first; the source takes them as given.",
    )


class MobileCLIPSigmoidOptions(MobileCLIPOptions):
    """Options of `mobileclip_sigmoid`."""

    student_bias: float = Field(
        default=-10.0, allow_inf_nan=False, description="Of the student's logits, where it has no tap logit_bias."
    )
    teacher_biases: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        default=(-10.0,), min_length=1, description="Of the teachers' logits: one, or one a teacher."
    )


_EMBEDDINGS = ("student_image", "student_text", "teacher_image", "teacher_text")
_YANG = (
    "Yang, An, Huang et al., CLIP-KD: An Empirical Study of CLIP Model Distillation, CVPR 2024, arXiv:2307.12732, "
    "section 3.2"
)
_VASU = (
    "Vasu, Pouransari, Faghri, Vemulapalli, Tuzel, MobileCLIP: Fast Image-Text Models through Multi-Modal Reinforced "
    "Training, CVPR 2024, arXiv:2311.17049"
)
_PAIRS = "All pairs of rows: O(B²·D) time, O(B²) memory."

ENTRIES: tuple[LossEntry, ...] = (
    LossEntry(
        name="clipkd_feature",
        target="mmdistill.losses.clipkd:CLIPKDFeature",
        options=CLIPKDFeatureOptions,
        summary="Squared distance of image and of text embeddings of length 1.",
        family="contrastive",
        needs=_EMBEDDINGS,
        paper=_YANG,
        equation=r"\| v^s - v^t \|^2 + \| u^s - u^t \|^2",
        typical_weight="4; 2000 with reduction: mean",
        when="The first thing to try with dual encoders: the strongest single term of the study.",
        cost="O(B·D) time and memory.",
        invariances=("scale", "joint permutation"),
    ),
    LossEntry(
        name="clipkd_relation",
        target="mmdistill.losses.clipkd:CLIPKDRelation",
        options=CLIPKDRelationOptions,
        summary="KL divergence between the matching probabilities of teacher and student in the batch.",
        family="contrastive",
        needs=_EMBEDDINGS,
        accepts=("student_logit_scale", "teacher_logit_scale", "weight"),
        paper=_YANG,
        equation=r"\tfrac{1}{2} \big[ \mathrm{KL}(q^t_{I \to T} \,\|\, q^s_{I \to T}) "
        r"+ \mathrm{KL}(q^t_{T \to I} \,\|\, q^s_{T \to I}) \big]",
        typical_weight="1 beside the contrastive loss",
        when="Embeddings of different widths, or where only matching counts.",
        cost=_PAIRS,
        by_row=False,
        pulls=False,
        equal_widths=False,
        invariances=("scale", "permutation", "rotation"),
    ),
    LossEntry(
        name="clipkd_interactive",
        target="mmdistill.losses.clipkd_learned:CLIPKDInteractive",
        options=CLIPKDInteractiveOptions,
        summary="Contrast of student images with teacher texts and of student texts with teacher images.",
        family="contrastive",
        needs=_EMBEDDINGS,
        paper=_YANG,
        equation=r"-\tfrac{1}{2} \Big[ \log \frac{e^{v^s_k \cdot u^t_k / \tau}}{\sum_b e^{v^s_k \cdot u^t_b / \tau}} "
        r"+ \log \frac{e^{u^s_k \cdot v^t_k / \tau}}{\sum_b e^{u^s_k \cdot v^t_b / \tau}} \Big]",
        typical_weight="1 beside the contrastive loss",
        when="Beside clipkd_feature; the second strongest term of the study.",
        cost=_PAIRS,
        equality="none",
        by_row=False,
        pulls=False,
        learned=("scale",),
        invariances=("scale", "joint permutation"),
    ),
    LossEntry(
        name="clipkd_cross",
        target="mmdistill.losses.clipkd_learned:CLIPKDCross",
        options=CLIPKDCrossOptions,
        summary="KL divergence from the teacher's matching probabilities to those of student against teacher.",
        family="contrastive",
        needs=_EMBEDDINGS,
        paper="Yang, An, Huang et al., the code of CLIP-KD (cross_kd), CVPR 2024, arXiv:2307.12732",
        equation=r"\tfrac{1}{2} \big[ \mathrm{KL}(q^t_{I \to T} \,\|\, q^{s,t}_{I \to T}) "
        r"+ \mathrm{KL}(q^t_{T \to I} \,\|\, q^{s,t}_{T \to I}) \big]",
        typical_weight="1; the authors leave it off",
        when="As clipkd_interactive, with the teacher's probabilities in place of the pairs.",
        cost=_PAIRS,
        equality="none",
        by_row=False,
        pulls=False,
        learned=("scale",),
        invariances=("scale", "joint permutation"),
    ),
    LossEntry(
        name="clipkd_gradient",
        target="mmdistill.losses.clipkd:CLIPKDGradient",
        options=CLIPKDGradientOptions,
        summary="Squared distance of the gradients that the contrastive loss gives each side's embeddings.",
        family="contrastive",
        needs=_EMBEDDINGS,
        accepts=("student_logit_scale", "teacher_logit_scale", "weight"),
        paper=_YANG,
        equation=r"\Big\| \frac{\partial \mathcal{L}^s}{\partial v^s} - \frac{\partial \mathcal{L}^t}{\partial v^t} "
        r"\Big\|^2 + \Big\| \frac{\partial \mathcal{L}^s}{\partial u^s} - \frac{\partial \mathcal{L}^t}{\partial u^t} "
        r"\Big\|^2",
        typical_weight="1e8 with form: code; by its gradient norm otherwise",
        when="Beside clipkd_feature, in large batches.",
        cost=_PAIRS,
        by_row=False,
        pulls=False,
        invariances=("scale", "joint permutation"),
    ),
    LossEntry(
        name="clipkd_augmented",
        target="mmdistill.losses.clipkd_learned:CLIPKDAugmented",
        options=CLIPKDAugmentedOptions,
        summary="Contrast of image and text embeddings fused from the student's and the teacher's.",
        family="contrastive",
        needs=_EMBEDDINGS,
        paper=_YANG,
        equation=r"\mathcal{L}_\mathrm{contrastive}\big(A_v [v^s, v^t], A_u [u^s, u^t]\big)",
        typical_weight="1 beside the contrastive loss",
        when="Beside other terms; weak alone, since the teacher's half can solve the task.",
        cost="All pairs of rows, and two layers of both widths: O(B²·D + B·D²) time, O(B²) memory.",
        equality="none",
        by_row=False,
        pulls=False,
        equal_widths=False,
        learned=("image_fusion", "text_fusion", "scale"),
        invariances=("scale",),
    ),
    LossEntry(
        name="tinyclip_affinity",
        target="mmdistill.losses.tinyclip:TinyCLIPAffinity",
        options=TinyCLIPAffinityOptions,
        summary="Cross-entropy of the matching probabilities in the batch against the teacher's.",
        family="contrastive",
        needs=_EMBEDDINGS,
        accepts=("student_logit_scale", "teacher_logit_scale", "weight"),
        paper="Wu, Peng, Zhou et al., TinyCLIP: CLIP Distillation via Affinity Mimicking and Weight Inheritance, ICCV "
        "2023, arXiv:2309.12314, equation 3",
        equation=r"\tfrac{1}{2} \big[ \mathrm{CE}(A^s_{I \to T}, A^t_{I \to T}) "
        r"+ \mathrm{CE}(A^s_{T \to I}, A^t_{T \to I}) \big]",
        typical_weight="1, without a contrastive loss",
        when="Small dual encoders from large ones of any width, above all when they inherit weights.",
        cost=_PAIRS,
        equality="minimum",
        by_row=False,
        pulls=False,
        equal_widths=False,
        invariances=("permutation", "rotation"),
    ),
    LossEntry(
        name="mobileclip",
        target="mmdistill.losses.mobileclip:MobileCLIP",
        options=MobileCLIPOptions,
        summary="Cross-entropy against the mean matching probabilities of several teachers.",
        family="contrastive",
        needs=_EMBEDDINGS,
        accepts=("student_logit_scale", "weight"),
        paper=f"{_VASU}, equation 3",
        equation=r"\lambda_c \mathcal{L}_\mathrm{contrastive} + \tfrac{\lambda_d}{2} \Big[ "
        r"\mathrm{CE}\big(A^s_{I \to T}, \tfrac{1}{M} \sum_m A^{t_m}_{I \to T}\big) "
        r"+ \mathrm{CE}\big(A^s_{T \to I}, \tfrac{1}{M} \sum_m A^{t_m}_{T \to I}\big) \Big]",
        typical_weight="1, without a contrastive loss beside it",
        when="Several teachers whose embeddings were stored side by side; any widths.",
        cost="All pairs of rows for each teacher: O(B²·D) time, O(B²) memory.",
        equality="minimum",
        by_row=False,
        pulls=False,
        equal_widths=False,
        invariances=("rotation", "permutation"),
    ),
    LossEntry(
        name="mobileclip_sigmoid",
        target="mmdistill.losses.mobileclip:MobileCLIPSigmoid",
        options=MobileCLIPSigmoidOptions,
        summary="Sigmoid losses of all pairs with the teachers' mean opinion as label.",
        family="contrastive",
        needs=_EMBEDDINGS,
        accepts=("student_logit_scale", "student_logit_bias", "weight"),
        paper=f"{_VASU}; the code of MobileCLIP2, arXiv:2508.20691",
        equation=r"-\sum_j \log \sigma(y_{ij} z^s_{ij}), \quad y_{ij} = \tfrac{1}{M} \sum_m 2 \sigma(z^{t_m}_{ij}) - 1",
        typical_weight="1, without a contrastive loss beside it",
        when="SigLIP-like encoders, whose pairs are judged one by one.",
        cost=_PAIRS,
        equality="none",
        by_row=False,
        pulls=False,
        equal_widths=False,
        invariances=("rotation", "permutation"),
    ),
)
