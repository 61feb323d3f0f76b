"""From the names in a loss's ``forward`` to the taps of student and teacher, checked when the objective is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from mmdistill.distill.adapters import Shape
from mmdistill.errors import InputError, nearest
from mmdistill.models.tap_names import logits_tap, mask_tap
from mmdistill.recipe.schema import Taps

Side = Literal["student", "teacher"]
Origin = Literal["student", "teacher", "student lengths", "teacher lengths", "target", "labelled", "weight"]
SIDES: tuple[Side, ...] = ("student", "teacher")
LENGTHS: dict[Side, Origin] = {"student": "student lengths", "teacher": "teacher lengths"}
MASKS = frozenset({"mask", "lengths"})


@dataclass(frozen=True)
class Argument:
    """Where one argument of a loss comes from.

    Args:
        name: of the argument.
        origin: which mapping it is read from.
        key: tap or task.
    """

    name: str
    origin: Origin
    key: str = ""


@dataclass(frozen=True)
class Sources:
    """What there is to bind to.

    Args:
        student: shape per row of each tap of the student.
        teacher: the same of the teacher.
        tasks: names of the tasks.
    """

    student: Mapping[str, Shape]
    teacher: Mapping[str, Shape]
    tasks: Sequence[str]

    def taps(self, side: Side) -> Mapping[str, Shape]:
        """The taps of a side."""
        return self.student if side == "student" else self.teacher


class Binder:
    """Binds the arguments of one loss term.

    Args:
        loss: the module; the names in its ``forward`` are what is bound.
        sources: taps and tasks.
        taps: taps that the recipe names for this term.
        task: the task that the term belongs to, None where there are several and none is named.
        where: key of the recipe, for messages.
    """

    def __init__(self, loss: nn.Module, sources: Sources, taps: Taps | None, task: str | None, where: str) -> None:
        self._parameters = [
            parameter
            for parameter in inspect.signature(loss.forward).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        ]
        self._sources, self._task, self._where = sources, task, where
        self._named: dict[Side, str | None] = {
            "student": taps.student if taps else None,
            "teacher": taps.teacher if taps else None,
        }

    @property
    def names(self) -> list[str]:
        """The names of the arguments."""
        return [parameter.name for parameter in self._parameters]

    def bind(self) -> list[Argument]:
        """The source of every argument; optional ones that have none keep their default.

        Raises:
            InputError: when a required argument cannot be bound, naming what is there.
        """
        bound = []
        for parameter in self._parameters:
            optional = parameter.default is not parameter.empty
            argument = self._argument(parameter.name, optional)
            if argument is not None:
                bound.append(argument)
        return bound

    def _argument(self, name: str, optional: bool) -> Argument | None:
        if name == "weight":
            return Argument(name, "weight")
        if name in ("target", "labelled"):
            if self._task is None and optional:
                return None
            return Argument(name, "target" if name == "target" else "labelled", self._one_task(name))
        side, _, what = name.partition("_")
        if name in MASKS:
            side, what = "student", name
        for known in SIDES:
            if side == known:
                return self._tap_argument(name, known, what, optional)
        if optional:
            return None
        raise InputError(
            f"The loss asks for {name!r}, and nothing here has that name",
            where=self._where,
            fix="Name the arguments of a loss student_<tap>, teacher_<tap>, target, labelled, weight or mask",
        )

    def _tap_argument(self, name: str, side: Side, what: str, optional: bool) -> Argument | None:
        taps = self._sources.taps(side)
        if what in MASKS:
            tap = mask_tap(self._main_tap(side))
            if tap in taps:
                return Argument(name, side if what == "mask" else LENGTHS[side], tap)
            if optional:
                return None
            raise InputError(
                f"The loss asks for {name!r}, but the {side}'s {self._main_tap(side)!r} has no mask",
                where=self._where,
                fix=f"Choose a tap of variable length with taps.{side}; there {_listed(taps)}",
            )
        tap = self._tap(side, what)
        if tap in taps:
            return Argument(name, side, tap)
        if optional:
            return None
        raise InputError(
            f"The loss asks for {name!r}, and the {side} has no tap {tap!r}",
            where=self._where,
            fix=f"{nearest(tap, list(taps))} Set taps.{side} to one of its taps; there {_listed(taps)}",
        )

    def _main_tap(self, side: Side) -> str:
        """The tap that a mask of that side belongs to."""
        for name in self.names:
            given, _, what = name.partition("_")
            if given == side and what not in MASKS:
                return self._tap(side, what)
        return self._named[side] or ""

    def _tap(self, side: Side, what: str) -> str:
        """The tap that ``<side>_<what>`` stands for; it may not exist."""
        named = self._named[side]
        if what == "logits" and (named is None or self._has_other_taps(side)):
            return logits_tap(self._one_task(f"{side}_logits"), self._sources.tasks)
        if named is not None:
            return named
        if what == "features":
            return "fused"
        taps = self._sources.taps(side)
        endings = [tap for tap in taps if tap.endswith(f".{what}")]
        return endings[0] if what not in taps and len(endings) == 1 else what

    def _has_other_taps(self, side: Side) -> bool:
        """Whether the loss reads more than logits from a side, so that a named tap is meant for that."""
        whats = [name.partition("_")[2] for name in self.names if name.startswith(f"{side}_")]
        return any(what != "logits" and what not in MASKS for what in whats)

    def _one_task(self, name: str) -> str:
        if self._task is None:
            raise InputError(
                f"The loss asks for {name!r}, and there are several tasks",
                where=self._where,
                fix=f"Set `task` to one of: {', '.join(self._sources.tasks)}",
            )
        return self._task


def _listed(taps: Mapping[str, Shape]) -> str:
    shown = [tap for tap in taps if not tap.endswith(".mask")]
    return f"are {', '.join(shown)}" if shown else "are none"
