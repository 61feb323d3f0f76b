"""What an adapter has to join: the channels and sizes of two taps."""

from __future__ import annotations

from typing import cast

from mmdistill.distill.adapters.adapter import MOST_AXES
from mmdistill.distill.layout import Layout, Pair
from mmdistill.errors import InputError


def check_axes(pair: Pair) -> None:
    """Require that both taps are of the same kind: vectors, tokens, or maps of as many axes.

    Raises:
        InputError: when they are not, as no adapter joins them.
    """
    student, teacher = pair.student, pair.teacher
    if student.kind != teacher.kind or (pair.sizes and len(student.shape) != len(teacher.shape)):
        raise InputError(
            f"{pair}: no adapter joins them",
            fix="Name other taps, such as `fused` or a column's embedding, with `taps`",
        )


def width_of(tap: Layout) -> int:
    """The channels of a tap.

    Raises:
        InputError: when they differ from batch to batch.
    """
    if tap.width is None:
        raise InputError(f"The width of {tap.tap!r} varies with the batch: no adapter joins it", fix="Name other taps")
    return tap.width


def wanted_size(pair: Pair) -> tuple[int, ...] | None:
    """The size that the student's maps have to be resized to; None where they need not be.

    Raises:
        InputError: when sizes differ in a way that resizing cannot mend.
    """
    if not pair.sizes_differ:
        return None
    sizes = pair.teacher.sizes
    if pair.student.kind != "maps" or len(sizes) > MOST_AXES or None in sizes:
        tokens = pair.student.kind == "tokens"
        raise InputError(
            f"{pair}: this adapter joins {'channels, not lengths' if tokens else 'no sizes that vary'}",
            fix="Set `adapter` to resampler" if tokens else "Name other taps with `taps`",
        )
    return cast(tuple[int, ...], sizes)
