"""MobileCLIP: multi-modal reinforced training from an ensemble of dual encoders.

Vasu, Pouransari, Faghri, Vemulapalli, Tuzel, "MobileCLIP: Fast Image-Text Models through Multi-Modal Reinforced
Training", CVPR 2024, arXiv:2311.17049, equations 1 to 3; Faghri, Vasu, Koc, Shankar, Toshev, Tuzel, Pouransari,
"MobileCLIP2: Improving Multi-Modal Reinforced Training", TMLR 2025, arXiv:2508.20691.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.dual_encoders import (
    Directions,
    Embeddings,
    both_directions,
    both_sides,
    contrastive,
    matching_logits,
    scale_of,
    soft_cross_entropy,
)
from mmdistill.losses.families.contrastive import MobileCLIPOptions, MobileCLIPSigmoidOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.relations import counted
from mmdistill.losses.unit_vectors import unit_vectors


@without_autocast
def mobileclip(
    student_image: Tensor,
    student_text: Tensor,
    teacher_image: Tensor,
    teacher_text: Tensor,
    student_logit_scale: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    contrastive_weight: float = 0.0,
    distillation_weight: float = 1.0,
    teacher_widths: tuple[int, ...] = (),
    student_scale: float = 100.0,
    teacher_scales: tuple[float, ...] = (100.0,),
    normalize: bool = True,
) -> Tensor:
    """Cross-entropy against the mean matching probabilities of several teachers, beside the contrastive loss.

    Probabilities of the teachers are averaged, not logits. The paper also trains on synthetic captions of the images:
    give them to a second term; its loss is the sum of both.

    The authors' code finds teachers in the concatenated features by their widths, whose default, [-1], cuts off the
    last feature of a single teacher when it averages; here no widths are one teacher of the whole width. Its first
    version has one scale for all teachers, the second one for each.

    Args:
        student_image: (B, D).
        student_text: (B, D).
        teacher_image: (B, widths of the teachers together), one after the other; receives no gradient.
        teacher_text: the same shape, in the same order; receives no gradient.
        student_logit_scale: the student's own factor of cosines, exponentiated: a number, or one a row (B,).
        weight: (B,) weight of each row, not negative; a row of weight zero is no candidate either.
        contrastive_weight: of the student's contrastive loss.
        distillation_weight: of the cross-entropy against the teachers.
        teacher_widths: width of each teacher; one teacher when empty.
        student_scale: used when `student_logit_scale` is not given, above 0.
        teacher_scales: factor of the cosines, one for all teachers or one a teacher, above 0.
        normalize: whether embeddings, each teacher's alone, are divided by their length first; the source takes them
            as the models give them.

    Returns:
        A scalar, at least 0, averaged over rows and both directions. Typical weight: 1, in place of the contrastive
        loss.

    Raises:
        InputError: when the shapes, or the widths and scales of the teachers, do not belong together.
    """
    student, teacher = both_sides(student_image, student_text, teacher_image, teacher_text)
    student = (unit_vectors(student[0]), unit_vectors(student[1])) if normalize else student
    found = both_directions(student, scale_of(student_logit_scale, student_scale, len(student[0])), weight)
    teachers = _split(teacher, teacher_widths, normalize)
    scales = _one_each(teacher_scales, len(teachers), "teacher_scales")
    likely = [both_directions(one, scale, weight) for one, scale in zip(teachers, scales, strict=True)]
    probabilities = _mean([(one[0].softmax(dim=1), one[1].softmax(dim=1)) for one in likely])
    distillation = soft_cross_entropy(found, probabilities, weight)
    return contrastive_weight * contrastive(found, weight) + distillation_weight * distillation


def _split(teacher: Embeddings, widths: Sequence[int], normalize: bool) -> list[Embeddings]:
    """The embeddings of each teacher."""
    width = teacher[0].shape[1]
    if widths and sum(widths) != width:
        raise InputError(
            f"teacher_widths {list(widths)} add to {sum(widths)}, but teacher_image has shape {tuple(teacher[0].shape)}"
        )
    parts = [side.split(list(widths) or [width], dim=1) for side in teacher]
    pairs = zip(parts[0], parts[1], strict=True)
    return [(unit_vectors(image), unit_vectors(text)) if normalize else (image, text) for image, text in pairs]


def _one_each(values: Sequence[float], teachers: int, name: str) -> list[float]:
    if len(values) not in (1, teachers):
        raise InputError(f"{name} has {len(values)} values for {teachers} teachers", fix="Give one, or one a teacher")
    return list(values) * (teachers if len(values) == 1 else 1)


def _mean(directions: Sequence[Directions]) -> Directions:
    to_text, to_image = zip(*directions, strict=True)
    return torch.stack(to_text).mean(dim=0), torch.stack(to_image).mean(dim=0)


@without_autocast
def mobileclip_sigmoid(
    student_image: Tensor,
    student_text: Tensor,
    teacher_image: Tensor,
    teacher_text: Tensor,
    student_logit_scale: Tensor | None = None,
    student_logit_bias: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    contrastive_weight: float = 0.0,
    distillation_weight: float = 1.0,
    teacher_widths: tuple[int, ...] = (),
    student_scale: float = 100.0,
    student_bias: float = -10.0,
    teacher_scales: tuple[float, ...] = (100.0,),
    teacher_biases: tuple[float, ...] = (-10.0,),
    normalize: bool = True,
) -> Tensor:
    """The form of MobileCLIP2 for sigmoid (SigLIP) encoders: −log σ(label · logit), summed over texts.

    The label of an image and a text is 2 σ(teacher logit) − 1, averaged over teachers, between −1 and 1; that of the
    contrastive loss is 1 for partners and −1 for all others. With a label strictly between, the loss still falls as
    the logit grows towards the label's sign: it has no minimum at the teacher's logits.

    Args:
        student_image: (B, D).
        student_text: (B, D).
        teacher_image: (B, widths of the teachers together), one after the other; receives no gradient.
        teacher_text: the same shape, in the same order; receives no gradient.
        student_logit_scale: the student's own factor of cosines, exponentiated: a number, or one a row (B,).
        student_logit_bias: the student's own bias: a number, or one a row (B,).
        weight: (B,) weight of each row, not negative; a row of weight zero is no candidate either.
        contrastive_weight: of the student's contrastive loss.
        distillation_weight: of the loss against the teachers.
        teacher_widths: width of each teacher; one teacher when empty.
        student_scale: used when `student_logit_scale` is not given, above 0.
        student_bias: used when `student_logit_bias` is not given.
        teacher_scales: factor of the cosines, one for all teachers or one a teacher, above 0.
        teacher_biases: added to the scaled cosines, one for all teachers or one a teacher.
        normalize: whether embeddings, each teacher's alone, are divided by their length first.

    Returns:
        A scalar, at least 0, averaged over rows. Typical weight: 1, in place of the contrastive loss.

    Raises:
        InputError: when the shapes, or the widths, scales and biases of the teachers, do not belong together.
    """
    student, teacher = both_sides(student_image, student_text, teacher_image, teacher_text)
    image, text = (unit_vectors(student[0]), unit_vectors(student[1])) if normalize else student
    rows, counts = len(image), counted(image, weight)
    scale, bias = scale_of(student_logit_scale, student_scale, rows), scale_of(student_logit_bias, student_bias, rows)
    found = matching_logits(image, text, scale, None, bias)
    teachers = _split(teacher, teacher_widths, normalize)
    scales = _one_each(teacher_scales, len(teachers), "teacher_scales")
    biases = _one_each(teacher_biases, len(teachers), "teacher_biases")
    likely = [
        matching_logits(*pair, scale, None, bias).sigmoid()
        for pair, scale, bias in zip(teachers, scales, biases, strict=True)
    ]
    labels = 2 * torch.stack(likely).mean(dim=0) - 1
    partners = 2 * torch.eye(rows, dtype=found.dtype, device=found.device) - 1

    def against(wanted: Tensor) -> Tensor:
        return weighted_mean((F.softplus(-wanted * found) * counts).sum(dim=1), weight)

    return contrastive_weight * against(partners) + distillation_weight * against(labels)


class MobileCLIP(DistillationLoss):
    """`mobileclip` as a module."""

    options_type = MobileCLIPOptions
    contrastive_weight: float
    distillation_weight: float
    teacher_widths: tuple[int, ...]
    student_scale: float
    teacher_scales: tuple[float, ...]
    normalize: bool

    def forward(
        self,
        student_image: Tensor,
        student_text: Tensor,
        teacher_image: Tensor,
        teacher_text: Tensor,
        student_logit_scale: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `mobileclip`."""
        sides = (student_image, student_text, teacher_image, teacher_text)
        return mobileclip(
            *sides,
            student_logit_scale,
            weight,
            contrastive_weight=self.contrastive_weight,
            distillation_weight=self.distillation_weight,
            teacher_widths=self.teacher_widths,
            student_scale=self.student_scale,
            teacher_scales=self.teacher_scales,
            normalize=self.normalize,
        )


class MobileCLIPSigmoid(DistillationLoss):
    """`mobileclip_sigmoid` as a module."""

    options_type = MobileCLIPSigmoidOptions
    contrastive_weight: float
    distillation_weight: float
    teacher_widths: tuple[int, ...]
    student_scale: float
    student_bias: float
    teacher_scales: tuple[float, ...]
    teacher_biases: tuple[float, ...]
    normalize: bool

    def forward(
        self,
        student_image: Tensor,
        student_text: Tensor,
        teacher_image: Tensor,
        teacher_text: Tensor,
        student_logit_scale: Tensor | None = None,
        student_logit_bias: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `mobileclip_sigmoid`."""
        sides = (student_image, student_text, teacher_image, teacher_text)
        return mobileclip_sigmoid(
            *sides,
            student_logit_scale,
            student_logit_bias,
            weight,
            contrastive_weight=self.contrastive_weight,
            distillation_weight=self.distillation_weight,
            teacher_widths=self.teacher_widths,
            student_scale=self.student_scale,
            student_bias=self.student_bias,
            teacher_scales=self.teacher_scales,
            teacher_biases=self.teacher_biases,
            normalize=self.normalize,
        )
