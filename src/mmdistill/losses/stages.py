"""The feature maps that losses between layers compare: how they are given, checked and added up.

A loss over several layers takes ``student_stages`` and ``teacher_stages``: a tuple or list of maps (B, C, *positions),
shallow to deep, one a layer. A lone tensor stands for a single stage. Positions are one to three axes, such as (T,) of
sound, (H, W) of an image or (T, H, W) of a video.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, cast

from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.losses.module import Shape
from mmdistill.losses.precision import widen

Stages: TypeAlias = Tensor | Sequence[Tensor]
"""Maps of several layers, shallow to deep; a lone tensor is a single stage."""


def pair_stages(
    student_stages: Stages,
    teacher_stages: Stages,
    *,
    equal_widths: bool = False,
    equal_sizes: bool = False,
    at_least: int = 1,
) -> list[tuple[Tensor, Tensor]]:
    """The maps of each stage, (student, teacher), in float32 or wider; the teacher's without gradient.

    Args:
        student_stages: maps (B, C, *positions), shallow to deep.
        teacher_stages: as many maps of the same rows.
        equal_widths: whether each pair must have the same number of channels.
        equal_sizes: whether each pair must have the same positions.
        at_least: how many stages there must be.

    Raises:
        InputError: when the counts or the shapes do not belong together.
    """
    student, teacher = as_stages(student_stages), as_stages(teacher_stages)
    if len(student) != len(teacher):
        raise InputError(f"There are {len(student)} student stages and {len(teacher)} teacher stages")
    if len(student) < at_least:
        raise InputError(
            f"There {'is' if len(student) == 1 else 'are'} {len(student)} stage{'s' * (len(student) != 1)}, "
            f"and the loss needs at least {at_least}"
        )
    for i, pair in enumerate(zip(student, teacher, strict=True)):
        check_maps(*pair, equal_widths=equal_widths, equal_sizes=equal_sizes, name=f"stages[{i}]")
    return [(widen(one), widen(other.detach())) for one, other in zip(student, teacher, strict=True)]


def as_stages(stages: Stages) -> tuple[Tensor, ...]:
    """Stages as a tuple."""
    return (stages,) if isinstance(stages, Tensor) else tuple(stages)


def check_maps(
    student: Tensor, teacher: Tensor, *, equal_widths: bool = False, equal_sizes: bool = False, name: str = "maps"
) -> None:
    """Require maps (B, C, *positions) of the same rows and the same number of axes.

    Raises:
        InputError: when they are not, naming ``student_<name>`` and ``teacher_<name>``.
    """
    ours, theirs = tuple(student.shape), tuple(teacher.shape)
    shown = f"student_{name} has shape {ours}, teacher_{name} {theirs}"
    if not 3 <= len(ours) <= 5 or len(ours) != len(theirs):
        raise InputError(f"Maps are (rows, channels, positions...), up to three axes of positions, but {shown}")
    if ours[0] != theirs[0]:
        raise InputError(f"The numbers of rows differ: {shown}")
    if equal_widths and ours[1] != theirs[1]:
        raise InputError(f"The numbers of channels differ: {shown}", fix="Put an adapter between them")
    if equal_sizes and ours[2:] != theirs[2:]:
        raise InputError(f"The sizes differ: {shown}", fix="Resize the larger one, or choose layers of the same size")


def check_stage_count(found: int, built: int) -> None:
    """Require as many stages as a loss was built for.

    Raises:
        InputError: when there are more, or fewer.
    """
    if found != built:
        raise InputError(f"There are {found} stages, but the loss was built for {built}")


def paired_shapes(
    shapes: Mapping[str, Shape | tuple[Shape, ...]], name: str = "stages"
) -> list[tuple[tuple[int, int], int]]:
    """((student's channels, teacher's channels), axes of positions) of each stage, from the shapes `build` is given.

    Raises:
        InputError: when a side is not there, the counts differ, or a shape is not one of a map.
    """
    sides = [_shapes_of(shapes, f"{side}_{name}") for side in ("student", "teacher")]
    if len(sides[0]) != len(sides[1]):
        raise InputError(f"There are {len(sides[0])} student stages and {len(sides[1])} teacher stages")
    pairs = []
    for student, teacher in zip(*sides, strict=True):
        if len(student) != len(teacher):
            raise InputError(f"Maps of shape {student} and {teacher} a row have different numbers of axes")
        pairs.append(((_width(student), _width(teacher)), len(student) - 1))
    return pairs


def paired_shape(shapes: Mapping[str, Shape | tuple[Shape, ...]]) -> tuple[tuple[int, int], int]:
    """`paired_shapes` of the one map of each side.

    Raises:
        InputError: as there, or when there are several maps.
    """
    pairs = paired_shapes(shapes, "maps")
    if len(pairs) != 1:
        raise InputError(f"The loss compares one map of each side, and there are {len(pairs)}", where="build")
    return pairs[0]


def _shapes_of(shapes: Mapping[str, Shape | tuple[Shape, ...]], argument: str) -> tuple[Shape, ...]:
    if argument not in shapes:
        raise InputError(f"The shape of {argument} is not given", where="build", fix=f"Give shapes[{argument!r}]")
    given = shapes[argument]
    several = bool(given) and all(isinstance(one, tuple) for one in given)
    return cast(tuple[Shape, ...], given) if several else (cast(Shape, given),)


def _width(shape: Shape) -> int:
    width = shape[0] if 2 <= len(shape) <= 4 else None
    if width is None:
        raise InputError(f"A row of shape {shape} is no map (channels, positions...)", where="build")
    return width


def reduce_elements(values: Tensor, reduction: Literal["sum", "mean"]) -> Tensor:
    """The sum or the mean of the elements of each row, (B, ...) → (B,)."""
    rows = values.flatten(1)
    return rows.sum(dim=1) if reduction == "sum" else rows.mean(dim=1)


def sum_of_stages(values: Sequence[Tensor], decay: float = 1.0) -> Tensor:
    """The values of the stages, shallow to deep, added up; each counts `decay` times as much as the next deeper."""
    total = values[0]
    for value in values[1:]:
        total = total * decay + value
    return total
