"""Where the arguments of a loss come from: what is known once an objective is built, and their values at each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

from mmdistill.losses.module import Shape

Side = Literal["student", "teacher"]
Origin = Literal[
    "student",
    "teacher",
    "student lengths",
    "teacher lengths",
    "student head",
    "teacher head",
    "target",
    "labelled",
    "weight",
    "row",
    "present",
    "seen",
    "columns",
    "progress",
]
SIDES: tuple[Side, ...] = ("student", "teacher")
Value: TypeAlias = "Tensor | tuple[Tensor, ...] | tuple[str, ...] | float | None"


@dataclass(frozen=True)
class Argument:
    """Where one argument of a loss comes from.

    Args:
        name: of the argument.
        origin: which mapping it is read from.
        keys: taps, the task, or the columns.
        several: whether the argument is a tuple, with an element for each key.
    """

    name: str
    origin: Origin
    keys: tuple[str, ...] = ()
    several: bool = False

    @property
    def key(self) -> str:
        """The first key, for an argument that has one."""
        return self.keys[0] if self.keys else ""

    @property
    def kind(self) -> str:
        """What it is, whichever side it is from: ``features`` for ``student_features``."""
        return self.name.removeprefix("student_").removeprefix("teacher_")


@dataclass(frozen=True)
class Sources:
    """What there is to bind to.

    Args:
        student: shape per row of each tap of the student.
        teacher: the same of the teacher.
        tasks: names of the tasks.
        student_heads: task → head of the student.
        teacher_heads: the same of the teacher.
        columns: that the student reads, in its own order; where left out, those whose embeddings are among its taps.
    """

    student: Mapping[str, Shape]
    teacher: Mapping[str, Shape]
    tasks: Sequence[str]
    student_heads: Mapping[str, nn.Module] = field(default_factory=dict)
    teacher_heads: Mapping[str, nn.Module] = field(default_factory=dict)
    columns: Sequence[str] | None = None

    def taps(self, side: Side) -> Mapping[str, Shape]:
        """The taps of a side."""
        return self.student if side == "student" else self.teacher

    def heads(self, side: Side) -> Mapping[str, nn.Module]:
        """The heads of a side."""
        return self.student_heads if side == "student" else self.teacher_heads

    def shapes(self, argument: Argument) -> tuple[Shape, ...]:
        """The shape of a row of each tap that a student's or a teacher's argument is bound to."""
        taps = self.student if argument.origin == "student" else self.teacher
        return tuple(taps[key] for key in argument.keys)


@dataclass(frozen=True)
class Moment:
    """All that the values of arguments are read from at one step.

    Args:
        batch: of the loader.
        outputs: the student's taps.
        signals: the teacher's taps.
        progress: share of the training that is done, from 0 to 1.
    """

    batch: Any
    outputs: Mapping[str, Tensor]
    signals: Mapping[str, Tensor]
    progress: float = 0.0


def tensor_pairs(arguments: Sequence[Argument]) -> list[tuple[Argument, Argument]]:
    """The student's and the teacher's argument of the same kind, such as student_features and teacher_features."""
    teacher = {one.kind: one for one in arguments if one.origin == "teacher"}
    return [
        (one, teacher[one.kind])
        for one in arguments
        if one.origin == "student" and one.kind in teacher and not one.key.endswith(".mask")
    ]
