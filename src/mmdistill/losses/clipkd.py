"""CLIP-KD: the terms that need no learned part: feature, relation and gradient distillation.

Yang, An, Huang, Bi, Yu, Yang, Diao, Xu, "CLIP-KD: An Empirical Study of CLIP Model Distillation", CVPR 2024,
arXiv:2307.12732, section 3.2. The terms with learned parts are in `clipkd_learned`.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from mmdistill.losses.dual_encoders import (
    Embeddings,
    both_directions,
    both_sides,
    check_equal_widths,
    divergence,
    matching_logits,
    scale_of,
)
from mmdistill.losses.families.contrastive import CLIPKDFeatureOptions, CLIPKDGradientOptions, CLIPKDRelationOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.reduction import weighted_mean
from mmdistill.losses.unit_vectors import unit_vectors


def clipkd_feature(
    student_image: Tensor,
    student_text: Tensor,
    teacher_image: Tensor,
    teacher_text: Tensor,
    weight: Tensor | None = None,
    *,
    reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """FD: ‖v_s − v_t‖² + ‖u_s − u_t‖² of image and text embeddings of length 1, averaged over rows.

    The authors' code takes the mean over the D numbers of an embedding, where the paper has the sum; so its weight of
    2000 stands for 2000 / D here. reduction="mean" gives theirs.

    Args:
        student_image: (B, D).
        student_text: (B, D).
        teacher_image: (B, D); receives no gradient.
        teacher_text: (B, D); receives no gradient.
        weight: (B,) weight of each row, not negative.
        reduction: of the squares of an embedding.

    Returns:
        A scalar between 0 and 8, and 0 where all directions agree. Typical weight: 4; 2000 with reduction="mean".

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = both_sides(student_image, student_text, teacher_image, teacher_text)
    check_equal_widths(student, teacher)
    squares = sum(
        (unit_vectors(one) - unit_vectors(other)).square() for one, other in zip(student, teacher, strict=True)
    )
    assert isinstance(squares, Tensor)
    return weighted_mean(squares.sum(dim=1) if reduction == "sum" else squares.mean(dim=1), weight)


@without_autocast
def clipkd_relation(
    student_image: Tensor,
    student_text: Tensor,
    teacher_image: Tensor,
    teacher_text: Tensor,
    student_logit_scale: Tensor | None = None,
    teacher_logit_scale: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    student_scale: float = 100.0,
    teacher_scale: float = 100.0,
) -> Tensor:
    """CRD of the paper: KL divergence between the matching probabilities of teacher and student.

    The probabilities of the texts of the batch for an image, softmax(scale · cosine), and of the images for a text;
    averaged over rows and both directions. (It is no contrast with a memory, as `crd` is.)

    Args:
        student_image: (B, D).
        student_text: (B, D).
        teacher_image: (B, any width); receives no gradient.
        teacher_text: (B, as wide); receives no gradient.
        student_logit_scale: the student's own factor of cosines, exponentiated: a number, or one a row (B,).
        teacher_logit_scale: likewise of the teacher; receives no gradient.
        weight: (B,) weight of each row, not negative; a row of weight zero is no candidate either.
        student_scale: used when `student_logit_scale` is not given, above 0.
        teacher_scale: used when `teacher_logit_scale` is not given, above 0.

    Returns:
        A scalar, at least 0, and 0 where the probabilities agree. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = both_sides(student_image, student_text, teacher_image, teacher_text)
    scales = _scales(student_logit_scale, teacher_logit_scale, student_scale, teacher_scale, len(student[0]))
    logits = [
        both_directions(_unit(side), scale, weight) for side, scale in zip((student, teacher), scales, strict=True)
    ]
    return divergence(logits[0], logits[1], weight)


def _scales(
    student: Tensor | None, teacher: Tensor | None, student_scale: float, teacher_scale: float, rows: int
) -> tuple[Tensor | float, Tensor | float]:
    given = None if teacher is None else teacher.detach()
    return scale_of(student, student_scale, rows), scale_of(given, teacher_scale, rows)


def _unit(embeddings: Embeddings) -> Embeddings:
    return unit_vectors(embeddings[0]), unit_vectors(embeddings[1])


@without_autocast
def clipkd_gradient(
    student_image: Tensor,
    student_text: Tensor,
    teacher_image: Tensor,
    teacher_text: Tensor,
    student_logit_scale: Tensor | None = None,
    teacher_logit_scale: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    student_scale: float = 100.0,
    teacher_scale: float = 100.0,
    form: Literal["paper", "code"] = "paper",
) -> Tensor:
    """GD: squared distance of the gradients that the contrastive loss of each side gives its own embeddings.

    The gradients of the loss (mean over rows and both directions) with respect to the image and text embeddings of
    length 1, written out; squares are summed over an embedding and averaged over rows.

    The authors' code passes the logit scale to a function that divides by it, so that logits are divided by the scale
    instead of multiplied; compares the gradients of the two directions apart; and takes the mean over the numbers of
    an embedding: form="code". Its values are smaller by many powers of ten, hence the weight of 10⁸.

    Args:
        student_image: (B, D).
        student_text: (B, D).
        teacher_image: (B, D); receives no gradient.
        teacher_text: (B, D); receives no gradient.
        student_logit_scale: the student's own factor of cosines, exponentiated: a number, or one a row (B,).
        teacher_logit_scale: likewise of the teacher; receives no gradient.
        weight: (B,) weight of each row, not negative; a row of weight zero is no candidate either.
        student_scale: used when `student_logit_scale` is not given, above 0.
        teacher_scale: used when `teacher_logit_scale` is not given, above 0.
        form: paper, or code.

    Returns:
        A scalar, at least 0, and 0 where the gradients agree. Typical weight: 1e8 with form="code"; for the paper's
        form none is published, and the gradient norm of the term beside the others should set it.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = both_sides(student_image, student_text, teacher_image, teacher_text)
    check_equal_widths(student, teacher)
    scales = _scales(student_logit_scale, teacher_logit_scale, student_scale, teacher_scale, len(student[0]))
    if form == "code":
        scales = 1 / scales[0], 1 / scales[1]
    found, likely = (
        _gradients(_unit(side), scale, weight) for side, scale in zip((student, teacher), scales, strict=True)
    )
    if form == "paper":
        found, likely = ([(side[0] + side[1]) / 2, (side[2] + side[3]) / 2] for side in (found, likely))
    squares = [(one - other).square() for one, other in zip(found, likely, strict=True)]
    total = torch.stack(squares).sum(dim=0)
    return weighted_mean(total.sum(dim=1) if form == "paper" else total.mean(dim=1), weight)


def _gradients(embeddings: Embeddings, scale: Tensor | float, weight: Tensor | None) -> list[Tensor]:
    """Gradients (B, D) of the contrastive losses of both directions: two of the images, then two of the texts."""
    image, text = embeddings
    weight = torch.ones_like(image[:, 0]) if weight is None else weight.to(image.dtype)
    total = weight.sum()
    share = (weight / torch.where(total > 0, total, 1))[:, None]
    own = torch.eye(len(image), dtype=image.dtype, device=image.device)
    # Probability less truth, as each row counts: the gradient of the mean cross-entropy by its logits.
    to_text = scale * share * (matching_logits(image, text, scale, weight).softmax(dim=1) - own)
    to_image = scale * share * (matching_logits(text, image, scale, weight).softmax(dim=1) - own)
    return [to_text @ text, to_image.T @ text, to_text.T @ image, to_image @ image]


class CLIPKDFeature(DistillationLoss):
    """`clipkd_feature` as a module."""

    options_type = CLIPKDFeatureOptions
    reduction: Literal["sum", "mean"]

    def forward(
        self,
        student_image: Tensor,
        student_text: Tensor,
        teacher_image: Tensor,
        teacher_text: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `clipkd_feature`."""
        return clipkd_feature(
            student_image, student_text, teacher_image, teacher_text, weight, reduction=self.reduction
        )


class CLIPKDRelation(DistillationLoss):
    """`clipkd_relation` as a module."""

    options_type = CLIPKDRelationOptions
    student_scale: float
    teacher_scale: float

    def forward(
        self,
        student_image: Tensor,
        student_text: Tensor,
        teacher_image: Tensor,
        teacher_text: Tensor,
        student_logit_scale: Tensor | None = None,
        teacher_logit_scale: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `clipkd_relation`."""
        return clipkd_relation(
            student_image,
            student_text,
            teacher_image,
            teacher_text,
            student_logit_scale,
            teacher_logit_scale,
            weight,
            student_scale=self.student_scale,
            teacher_scale=self.teacher_scale,
        )


class CLIPKDGradient(DistillationLoss):
    """`clipkd_gradient` as a module."""

    options_type = CLIPKDGradientOptions
    student_scale: float
    teacher_scale: float
    form: Literal["paper", "code"]

    def forward(
        self,
        student_image: Tensor,
        student_text: Tensor,
        teacher_image: Tensor,
        teacher_text: Tensor,
        student_logit_scale: Tensor | None = None,
        teacher_logit_scale: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `clipkd_gradient`."""
        return clipkd_gradient(
            student_image,
            student_text,
            teacher_image,
            teacher_text,
            student_logit_scale,
            teacher_logit_scale,
            weight,
            student_scale=self.student_scale,
            teacher_scale=self.teacher_scale,
            form=self.form,
        )
