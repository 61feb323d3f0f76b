"""What losses of relations between rows share: inputs as a vector a row, means over pairs or triplets."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.precision import widen


def paired_rows(
    student_features: Tensor, teacher_features: Tensor, weight: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Both sides as one vector a row, (B, any width), float32 or wider; the teacher's without gradient.

    Raises:
        InputError: when the numbers of rows differ, a side has no axis of features, or the weight is not one a row.
    """
    student, teacher = tuple(student_features.shape), tuple(teacher_features.shape)
    for name, shape in (("student_features", student), ("teacher_features", teacher)):
        if len(shape) < 2:
            raise InputError(f"{name} has shape {shape}, not (rows, width) or (rows, channels, height, width)")
    if student[0] != teacher[0]:
        raise InputError(
            f"The numbers of rows differ: student_features has shape {student}, teacher_features {teacher}"
        )
    if weight is not None and weight.shape != student[:1]:
        raise InputError(f"The weight has shape {tuple(weight.shape)}, but there are {student[0]} rows")
    return widen(student_features).flatten(1), widen(teacher_features.detach()).flatten(1)


def counted(rows: Tensor, weight: Tensor | None) -> Tensor:
    """bool (B,): true at rows whose weight is above zero; everywhere without weights."""
    if weight is None:
        return torch.ones(rows.shape[:1], dtype=torch.bool, device=rows.device)
    return weight > 0


def mean_over_tuples(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean of one value for each pair (B, B), or triplet (B, B, B), of rows.

    Args:
        values: a value for each tuple of rows, a tuple with a row more than once included.
        weight: (B,) weight of each row, not negative; a tuple weighs the product of its rows' weights.

    Returns:
        A scalar; zero when no row counts.
    """
    if weight is None:
        return values.sum() / max(values.numel(), 1)
    weight = weight.to(values.dtype)
    total = weight.sum()
    share = weight / torch.where(total > 0, total, 1)
    for _ in range(values.dim()):
        values = values @ share
    return values
