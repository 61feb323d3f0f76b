"""TinyCLIP: affinity mimicking.

Wu, Peng, Zhou, Xiao, Liu, Yuan, Xuan, Valenzuela, Chen, Wang, Chao, Hu, "TinyCLIP: CLIP Distillation via Affinity
Mimicking and Weight Inheritance", ICCV 2023, arXiv:2309.12314, equations 1 to 3.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mmdistill.losses.dual_encoders import both_directions, both_sides, matching_logits, scale_of, soft_cross_entropy
from mmdistill.losses.families.contrastive import TinyCLIPAffinityOptions
from mmdistill.losses.module import DistillationLoss
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.unit_vectors import unit_vectors


@without_autocast
def tinyclip_affinity(
    student_image: Tensor,
    student_text: Tensor,
    teacher_image: Tensor,
    teacher_text: Tensor,
    student_logit_scale: Tensor | None = None,
    teacher_logit_scale: Tensor | None = None,
    weight: Tensor | None = None,
    *,
    student_scale: float = 50.0,
    teacher_scale: float = 50.0,
    normalize: bool = True,
    candidates: Literal["learn", "fixed"] = "learn",
) -> Tensor:
    """Cross-entropy of the student's matching probabilities against the teacher's, from image to text and back.

    The value of `clipkd_relation` plus the teacher's entropy, and so the same gradient.

    Args:
        student_image: (B, D).
        student_text: (B, D).
        teacher_image: (B, any width); receives no gradient.
        teacher_text: (B, as wide); receives no gradient.
        student_logit_scale: the student's own factor of cosines, exponentiated: a number, or one a row (B,).
        teacher_logit_scale: likewise of the teacher; receives no gradient.
        weight: (B,) weight of each row, not negative; a row of weight zero is no candidate either.
        student_scale: used when `student_logit_scale` is not given, above 0.
        teacher_scale: used when `teacher_logit_scale` is not given, above 0; the authors fix both at 50.
        normalize: whether embeddings are divided by their length first; the source takes them as the model gives them.
        candidates: whether the embeddings that an anchor is matched with receive gradient as well (``learn``), or the
            anchors alone (``fixed``), as in the authors' code where features are gathered without gradient.

    Returns:
        A scalar, at least the teacher's mean entropy, which it is where the probabilities agree: averaged over rows
        and both directions. Typical weight: 1, in place of the contrastive loss.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = both_sides(student_image, student_text, teacher_image, teacher_text)
    if normalize:
        student, teacher = (
            (unit_vectors(student[0]), unit_vectors(student[1])),
            (unit_vectors(teacher[0]), unit_vectors(teacher[1])),
        )
    rows, given = len(student[0]), None if teacher_logit_scale is None else teacher_logit_scale.detach()
    likely = both_directions(teacher, scale_of(given, teacher_scale, rows), weight)
    scale = scale_of(student_logit_scale, student_scale, rows)
    image, text = student if candidates == "learn" else (student[0].detach(), student[1].detach())
    found = matching_logits(student[0], text, scale, weight), matching_logits(student[1], image, scale, weight)
    return soft_cross_entropy(found, (likely[0].softmax(dim=1), likely[1].softmax(dim=1)), weight)


class TinyCLIPAffinity(DistillationLoss):
    """`tinyclip_affinity` as a module."""

    options_type = TinyCLIPAffinityOptions
    student_scale: float
    teacher_scale: float
    normalize: bool
    candidates: Literal["learn", "fixed"]

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
        """See `tinyclip_affinity`."""
        return tinyclip_affinity(
            student_image,
            student_text,
            teacher_image,
            teacher_text,
            student_logit_scale,
            teacher_logit_scale,
            weight,
            student_scale=self.student_scale,
            teacher_scale=self.teacher_scale,
            normalize=self.normalize,
            candidates=self.candidates,
        )
