"""CLIP-KD: the terms with learned parts: interactive contrast, cross distillation and augmented features.

Yang, An, Huang, Bi, Yu, Yang, Diao, Xu, "CLIP-KD: An Empirical Study of CLIP Model Distillation", CVPR 2024,
arXiv:2307.12732, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from mmdistill.errors import InputError
from mmdistill.losses.dual_encoders import (
    Directions,
    Embeddings,
    both_directions,
    both_sides,
    check_equal_widths,
    contrastive,
    divergence,
    matching_logits,
)
from mmdistill.losses.families.contrastive import CLIPKDAugmentedOptions, CLIPKDCrossOptions, CLIPKDInteractiveOptions
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.losses.parts import require_built
from mmdistill.losses.precision import without_autocast
from mmdistill.losses.unit_vectors import unit_vectors

Layer = Callable[[Tensor], Tensor]
ScaleForm = Literal["exponential", "as_is"]
_LARGEST = 100.0


@without_autocast
def clipkd_interactive(
    student_image: Tensor,
    student_text: Tensor,
    teacher_image: Tensor,
    teacher_text: Tensor,
    scale: Tensor | float,
    weight: Tensor | None = None,
) -> Tensor:
    """ICL: contrast of student images with teacher texts, and of student texts with teacher images.

    Args:
        student_image: (B, D).
        student_text: (B, D).
        teacher_image: (B, D); receives no gradient.
        teacher_text: (B, D); receives no gradient.
        scale: factor of the cosines, learned.
        weight: (B,) weight of each row, not negative; a row of weight zero is no candidate either.

    Returns:
        A scalar, at least 0: cross-entropy, averaged over rows and both directions. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = both_sides(student_image, student_text, teacher_image, teacher_text)
    return contrastive(_crossed(student, teacher, scale, weight), weight)


def _crossed(student: Embeddings, teacher: Embeddings, scale: Tensor | float, weight: Tensor | None) -> Directions:
    """Matching logits of student images with teacher texts, and of student texts with teacher images."""
    check_equal_widths(student, teacher)
    to_text = matching_logits(unit_vectors(student[0]), unit_vectors(teacher[1]), scale, weight)
    return to_text, matching_logits(unit_vectors(student[1]), unit_vectors(teacher[0]), scale, weight)


@without_autocast
def clipkd_cross(
    student_image: Tensor,
    student_text: Tensor,
    teacher_image: Tensor,
    teacher_text: Tensor,
    scale: Tensor | float,
    weight: Tensor | None = None,
    *,
    teacher_scale: float = 100.0,
) -> Tensor:
    """KL divergence from the teacher's matching probabilities to those of student against teacher embeddings.

    A term of the authors' code (cross_kd), where it is off by default; the paper does not have it.

    Args:
        student_image: (B, D).
        student_text: (B, D).
        teacher_image: (B, D); receives no gradient.
        teacher_text: (B, D); receives no gradient.
        scale: factor of the cosines between student and teacher, learned.
        weight: (B,) weight of each row, not negative; a row of weight zero is no candidate either.
        teacher_scale: factor of the teacher's cosines, above 0.

    Returns:
        A scalar, at least 0, and 0 where the student equals the teacher and the scales agree. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = both_sides(student_image, student_text, teacher_image, teacher_text)
    likely = both_directions((unit_vectors(teacher[0]), unit_vectors(teacher[1])), teacher_scale, weight)
    return divergence(_crossed(student, teacher, scale, weight), likely, weight)


@without_autocast
def clipkd_augmented(
    student_image: Tensor,
    student_text: Tensor,
    teacher_image: Tensor,
    teacher_text: Tensor,
    image_fusion: Layer,
    text_fusion: Layer,
    scale: Tensor | float,
    weight: Tensor | None = None,
) -> Tensor:
    """AFD: contrast of image and text embeddings that are each fused from the student's and the teacher's.

    Args:
        student_image: (B, D).
        student_text: (B, D).
        teacher_image: (B, any width); receives no gradient.
        teacher_text: (B, as wide); receives no gradient.
        image_fusion: a learned layer from student and teacher image embeddings side by side, each of length 1, to one.
        text_fusion: the same of texts.
        scale: factor of the cosines of fused embeddings, learned.
        weight: (B,) weight of each row, not negative; a row of weight zero is no candidate either.

    Returns:
        A scalar, at least 0: cross-entropy, averaged over rows and both directions. Typical weight: 1.

    Raises:
        InputError: when the shapes do not belong together.
    """
    student, teacher = both_sides(student_image, student_text, teacher_image, teacher_text)
    image, text = (
        unit_vectors(fusion(torch.cat((unit_vectors(one), unit_vectors(other)), dim=1)))
        for fusion, one, other in zip((image_fusion, text_fusion), student, teacher, strict=True)
    )
    return contrastive(both_directions((image, text), scale, weight), weight)


class _LearnedScale(nn.Module):
    """A learned factor of cosines that starts at 1 / 0.07, as CLIP's does.

    Args:
        form: exponential: the parameter is its logarithm, and the factor at most 100, as in CLIP; as_is: the parameter
            itself, which starts at log(1 / 0.07) = 2.66, as in the code of CLIP-KD.
    """

    def __init__(self, form: ScaleForm) -> None:
        super().__init__()
        self.form = form
        self.value = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self) -> Tensor:
        """The factor, a scalar."""
        return self.value.exp().clamp(max=_LARGEST) if self.form == "exponential" else self.value


class _WithLearnedScale(DistillationLoss):
    """A loss with a learned factor of cosines."""

    scale_form: ScaleForm
    scale: _LearnedScale

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],  # noqa: ARG002 (the signature of every loss with parts)
        *,
        rows: Tensor | None,  # noqa: ARG002
        targets: Tensor | None,  # noqa: ARG002
        seed: int,  # noqa: ARG002
    ) -> None:
        """The scale."""
        self.scale = _LearnedScale(self.scale_form)

    def factor(self) -> Tensor:
        """The learned factor, a scalar.

        Raises:
            InputError: when `build` has not been called.
        """
        require_built(self, "scale")
        factor: Tensor = self.scale()
        return factor


class CLIPKDInteractive(_WithLearnedScale):
    """`clipkd_interactive` with its learned scale."""

    options_type = CLIPKDInteractiveOptions

    def forward(
        self,
        student_image: Tensor,
        student_text: Tensor,
        teacher_image: Tensor,
        teacher_text: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `clipkd_interactive`."""
        return clipkd_interactive(student_image, student_text, teacher_image, teacher_text, self.factor(), weight)


class CLIPKDCross(_WithLearnedScale):
    """`clipkd_cross` with its learned scale."""

    options_type = CLIPKDCrossOptions
    teacher_scale: float

    def forward(
        self,
        student_image: Tensor,
        student_text: Tensor,
        teacher_image: Tensor,
        teacher_text: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `clipkd_cross`."""
        sides = (student_image, student_text, teacher_image, teacher_text)
        return clipkd_cross(*sides, self.factor(), weight, teacher_scale=self.teacher_scale)


class CLIPKDAugmented(_WithLearnedScale):
    """`clipkd_augmented` with its learned fusion layers and scale."""

    options_type = CLIPKDAugmentedOptions
    image_fusion: nn.Linear
    text_fusion: nn.Linear

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,
        targets: Tensor | None,
        seed: int,
    ) -> None:
        """Layers from both widths to the student's, one for images and one for texts, and the scale."""
        super().make_parts(shapes, rows=rows, targets=targets, seed=seed)
        student, teacher = _width(shapes, "student_image"), _width(shapes, "teacher_image")
        self.image_fusion = nn.Linear(student + teacher, student)
        self.text_fusion = nn.Linear(student + teacher, student)

    @without_autocast
    def forward(
        self,
        student_image: Tensor,
        student_text: Tensor,
        teacher_image: Tensor,
        teacher_text: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """See `clipkd_augmented`."""
        scale = self.factor()
        sides = (student_image, student_text, teacher_image, teacher_text)
        return clipkd_augmented(*sides, self.image_fusion, self.text_fusion, scale, weight)


def _width(shapes: Mapping[str, Shape | tuple[Shape, ...]], name: str) -> int:
    shape = shapes.get(name, ())
    if len(shape) != 1 or not isinstance(shape[0], int):
        raise InputError(f"clipkd_augmented needs the width of {name}, and was given {shape}")
    return shape[0]
