"""Checks of the hidden states of several layers."""

from __future__ import annotations

from torch import Tensor

from mmdistill.errors import InputError


def check_layers(student_layers: tuple[Tensor, ...], teacher_layers: tuple[Tensor, ...]) -> None:
    """Require one or more layers, as many of each side, that agree in everything but their width.

    Raises:
        InputError: when they do not.
    """
    if not student_layers or len(student_layers) != len(teacher_layers):
        raise InputError(
            f"The student gives {len(student_layers)} layers, the teacher {len(teacher_layers)}",
            fix="Choose as many layers of the teacher as of the student, each for one of them",
        )
    for index, (student, teacher) in enumerate(zip(student_layers, teacher_layers, strict=True)):
        if student.shape[:-1] != teacher.shape[:-1]:
            raise InputError(
                f"The shapes differ: student_layers[{index}] has shape {tuple(student.shape)}, "
                f"teacher_layers[{index}] {tuple(teacher.shape)}"
            )
