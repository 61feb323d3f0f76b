"""Where the channels of features, tokens and maps stand, and checks that both sides have the same shape."""

from __future__ import annotations

from torch import Tensor

from mmdistill.errors import InputError


def check_same_shape(student: Tensor, teacher: Tensor, what: str, *, least: int = 2) -> None:
    """Require two tensors of equal shape with at least `least` axes, rows first.

    Args:
        student: the student's input.
        teacher: the teacher's.
        what: they are called ``student_<what>`` and ``teacher_<what>``.
        least: axes that they need.

    Raises:
        InputError: when they differ, or have too few axes.
    """
    ours, theirs = tuple(student.shape), tuple(teacher.shape)
    if len(ours) < least:
        raise InputError(f"student_{what} has shape {ours}, but {least} axes are needed at least, rows first")
    if ours != theirs:
        raise InputError(
            f"The shapes differ: student_{what} has shape {ours}, teacher_{what} {theirs}",
            fix="Bring the student's channels to the teacher's with an adapter, and compare taps of equal lengths",
        )


def channels_last(features: Tensor) -> Tensor:
    """Features with a row of channels at each position.

    Args:
        features: (B, D), (B, L, D), or maps (B, C, H, W, …) with two spatial axes or more.

    Returns:
        (B, D) and (B, L, D) as they are; maps as (B, positions, C).
    """
    return features if features.dim() < 4 else features.flatten(2).transpose(1, 2)
