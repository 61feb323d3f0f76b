"""Checks of the shapes that reach a loss, with messages that name the inputs."""

from __future__ import annotations

from torch import Tensor

from mmdistill.errors import InputError


def check_logits(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Require logits of equal shape, (B, C) or (B, L, C).

    Raises:
        InputError: when they differ, or are neither.
    """
    if student_logits.shape == teacher_logits.shape and student_logits.dim() in (2, 3):
        return
    student, teacher = tuple(student_logits.shape), tuple(teacher_logits.shape)
    if len(student) not in (2, 3):
        raise InputError(f"student_logits has shape {student}, not (rows, classes) or (rows, positions, classes)")
    differs = "class counts" if student[:-1] == teacher[:-1] else "shapes"
    raise InputError(f"The {differs} differ: student_logits has shape {student}, teacher_logits {teacher}")


def check_target(target: Tensor, student_logits: Tensor) -> None:
    """Require one class index a row (B,), or a position (B, L).

    Raises:
        InputError: when the shapes do not belong together.
    """
    if target.shape != student_logits.shape[:-1]:
        raise InputError(
            f"target has shape {tuple(target.shape)}, but student_logits has shape {tuple(student_logits.shape)}",
            fix="Give one class index a row, or a position of a sequence",
        )
