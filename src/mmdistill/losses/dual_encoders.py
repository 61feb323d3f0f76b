"""What losses between the image and text embeddings of dual encoders share: checks, matching logits, contrast."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill.errors import InputError
from mmdistill.losses.precision import widen
from mmdistill.losses.reduction import weighted_mean

Embeddings: TypeAlias = tuple[Tensor, Tensor]
"""Image and text embeddings of the same rows."""
Directions: TypeAlias = tuple[Tensor, Tensor]
"""Something from image to text, and from text to image."""
_NAMES = ("student_image", "student_text", "teacher_image", "teacher_text")


def both_sides(
    student_image: Tensor, student_text: Tensor, teacher_image: Tensor, teacher_text: Tensor
) -> tuple[Embeddings, Embeddings]:
    """The embeddings of student and teacher, float32 or wider; the teacher's without gradient.

    Raises:
        InputError: when they are not (B, D) with one B, or image and text of a side differ in width.
    """
    shapes = [tuple(one.shape) for one in (student_image, student_text, teacher_image, teacher_text)]
    for name, shape in zip(_NAMES, shapes, strict=True):
        if len(shape) != 2:
            raise InputError(f"{name} has shape {shape}, not (rows, width)")
    for first, second in ((0, 1), (2, 3), (0, 2)):
        axes = 1 if second == 2 else 2
        if shapes[first][:axes] != shapes[second][:axes]:
            raise InputError(
                f"{_NAMES[first]} has shape {shapes[first]}, but {_NAMES[second]} has shape {shapes[second]}"
            )
    student = widen(student_image), widen(student_text)
    return student, (widen(teacher_image.detach()), widen(teacher_text.detach()))


def check_equal_widths(student: Embeddings, teacher: Embeddings) -> None:
    """Require student and teacher embeddings of the same width.

    Raises:
        InputError: when they differ.
    """
    if student[0].shape != teacher[0].shape:
        raise InputError(
            f"The widths differ: student_image has shape {tuple(student[0].shape)}, teacher_image "
            f"{tuple(teacher[0].shape)}",
            fix="Set an adapter for the term",
        )


def scale_of(given: Tensor | None, otherwise: float, rows: int) -> Tensor | float:
    """The factor of cosines: a model's own when it is given, of shape (1, 1) or (B, 1), else a number.

    Raises:
        InputError: when it is neither one number nor one a row.
    """
    if given is None:
        return otherwise
    if given.numel() != 1 and tuple(given.shape) != (rows,):
        raise InputError(
            f"A logit scale has shape {tuple(given.shape)}; give one number, or one for each of {rows} rows"
        )
    return widen(given).reshape(-1, 1)


def matching_logits(
    anchors: Tensor, candidates: Tensor, scale: Tensor | float, weight: Tensor | None, bias: Tensor | float = 0.0
) -> Tensor:
    """scale · anchors @ candidatesᵀ + bias, (B, B); candidates of weight zero get a logit that no softmax notices."""
    logits = scale * (anchors @ candidates.T) + bias
    if weight is None:
        return logits
    # Finite, so that a probability of 0 times its logarithm is 0.
    return logits.masked_fill((weight <= 0)[None, :], torch.finfo(logits.dtype).min / 4)


def both_directions(embeddings: Embeddings, scale: Tensor | float, weight: Tensor | None) -> Directions:
    """Matching logits from image to text and from text to image."""
    image, text = embeddings
    return matching_logits(image, text, scale, weight), matching_logits(text, image, scale, weight)


def contrastive(logits: Directions, weight: Tensor | None) -> Tensor:
    """Cross-entropy of each row's own partner among the candidates, averaged over rows and both directions."""
    own = [F.log_softmax(one, dim=1).diagonal() for one in logits]
    return -weighted_mean(own[0] + own[1], weight) / 2


def soft_cross_entropy(student: Directions, teacher: Directions, weight: Tensor | None) -> Tensor:
    """Cross-entropy against the teacher's probabilities of the candidates, averaged over rows and both directions.

    Args:
        student: logits (B, B).
        teacher: probabilities (B, B).
        weight: (B,) weight of each row.
    """
    losses = [(soft * F.log_softmax(one, dim=1)).sum(dim=1) for one, soft in zip(student, teacher, strict=True)]
    return -weighted_mean(losses[0] + losses[1], weight) / 2


def divergence(student: Directions, teacher: Directions, weight: Tensor | None) -> Tensor:
    """KL(softmax(teacher) ‖ softmax(student)) of matching logits, averaged over rows and both directions."""
    losses = []
    for found, likely in zip(student, teacher, strict=True):
        logarithms = F.log_softmax(found, dim=1), F.log_softmax(likely, dim=1)
        losses.append(F.kl_div(*logarithms, reduction="none", log_target=True).sum(dim=1))
    return weighted_mean(losses[0] + losses[1], weight) / 2
