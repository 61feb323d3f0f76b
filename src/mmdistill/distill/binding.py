"""From the names in a loss's ``forward`` to the taps of student and teacher, checked when the objective is built."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mmdistill.distill.arguments import SIDES, Argument, Origin, Side, Sources
from mmdistill.distill.default_taps import column_of, default_taps, embeddings_of, numbered, reconstructed
from mmdistill.distill.heads import HEAD_PARTS, head_argument
from mmdistill.errors import InputError, nearest
from mmdistill.losses.module import Shape
from mmdistill.models.tap_names import logits_tap, mask_tap

Named = Mapping[str, str | Sequence[str]]
LENGTHS: dict[Side, Origin] = {"student": "student lengths", "teacher": "teacher lengths"}
MASKS = frozenset({"mask", "lengths"})
_NOT_A_TAP = MASKS | HEAD_PARTS.keys()


class Binder:
    """Binds the arguments of one loss, or of another function of the same arguments.

    Args:
        function: the names of its parameters are what is bound.
        sources: taps, heads and tasks.
        taps: taps that the recipe names for this term: ``student`` or ``teacher``, or an argument, → a tap or several.
        task: the task that the term belongs to, None where there are several and none is named.
        where: key of the recipe, for messages.
        given: parameters that need no binding.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        sources: Sources,
        taps: Named,
        task: str | None,
        where: str,
        given: Collection[str] = (),
    ) -> None:
        self._parameters = [
            parameter
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
            and parameter.name not in given
        ]
        self._sources, self._task, self._where, self._named = sources, task, where, taps
        self._tuples = _tuples(function)

    def bind(self) -> list[Argument]:
        """The source of every argument; optional ones that have none keep their default.

        Raises:
            InputError: when a required argument cannot be bound, naming what is there.
        """
        self._check_names()
        bound = [self._argument(parameter) for parameter in self._parameters]
        return [argument for argument in bound if argument is not None]

    def _argument(self, parameter: inspect.Parameter) -> Argument | None:
        name, optional = parameter.name, parameter.default is not parameter.empty
        if name in ("weight", "row", "progress"):
            return Argument(name, name)  # type: ignore[arg-type]
        if name == "present":
            return Argument(name, "present", self._columns())
        if name in ("seen", "columns"):
            columns = columns_of_student(self._sources)
            if not columns and not optional:
                what = f"The loss asks for {name!r}, and it is not known which columns the student reads"
                raise InputError(what, where=self._where, fix="Give build_objective its `student_columns`")
            return Argument(name, name, columns) if columns else None  # type: ignore[arg-type]
        if name in ("target", "labelled"):
            if self._task is None and optional:
                return None
            return Argument(name, "target" if name == "target" else "labelled", (self._one_task(name),))
        side, _, what = name.partition("_")
        if name in MASKS:
            side, what = "student", name
        for known in SIDES:
            if side == known:
                return self._side_argument(parameter, known, what, optional)
        if optional:
            return None
        raise InputError(
            f"The loss asks for {name!r}, and nothing here has that name",
            where=self._where,
            fix="Name the arguments of a loss student_<tap>, teacher_<tap>, target, labelled, row, present, seen, "
            "columns, progress, weight or mask",
        )

    def _side_argument(self, parameter: inspect.Parameter, side: Side, what: str, optional: bool) -> Argument | None:
        if what in MASKS:
            return self._mask(parameter.name, side, what, optional)
        if what in HEAD_PARTS:
            if self._task is None and optional:
                return None
            return head_argument(self._sources, side, what, self._one_task(parameter.name), self._where, optional)
        return self._taps_argument(parameter, side, what, optional)

    def _mask(self, name: str, side: Side, what: str, optional: bool) -> Argument | None:
        taps = self._sources.taps(side)
        mains = [tap for parameter in self._tap_parameters(side) for tap in self._taps(parameter, side)[:1]]
        masked = [tap for tap in mains if mask_tap(tap) in taps]
        if masked:
            return Argument(name, side if what == "mask" else LENGTHS[side], (mask_tap(masked[0]),))
        if optional:
            return None
        raise InputError(
            f"The loss asks for {name!r}, but the {side}'s {mains[0] if mains else ''!r} has no mask",
            where=self._where,
            fix=f"Choose a tap of variable length with taps.{side}; there {_listed(taps)}",
        )

    def _taps_argument(self, parameter: inspect.Parameter, side: Side, what: str, optional: bool) -> Argument | None:
        name, taps = parameter.name, self._sources.taps(side)
        found = self._taps(parameter, side)
        several, named = self._several(parameter), self._name_for(name, side) is not None
        missing = [tap for tap in found if tap not in taps]
        if found and not missing and (several or len(found) == 1):
            return Argument(name, side, found, several)
        if optional and not named:
            return None
        if len(found) > 1 and not named:
            what = f"The loss asks for {name!r}, and the {side} has several that it could be: {', '.join(found)}"
            raise InputError(what, where=self._where, fix=f"Name one with taps.{side}")
        wanted = missing[0] if missing else what
        hint = nearest(wanted, list(taps))
        hint = f"{hint} " if hint.endswith("?") else ""  # all that are known are listed anyway
        raise InputError(
            f"The loss asks for {name!r}, and the {side} has no tap {wanted!r}",
            where=self._where,
            fix=f"{hint}Set taps.{side} to one of its taps; there {_listed(taps)}",
        )

    def _taps(self, parameter: inspect.Parameter, side: Side) -> tuple[str, ...]:
        """The taps that ``<side>_<what>`` stands for; they may not exist."""
        name, taps = parameter.name, self._sources.taps(side)
        what, named = name.partition("_")[2], self._name_for(name, side)
        if named is None and what == "logits":
            return (logits_tap(self._one_task(name), self._sources.tasks),)
        if named is None and what == "embeddings":
            return self._embeddings(side)
        several = self._several(parameter)
        found = (named,) if isinstance(named, str) else tuple(named or default_taps(what, side, self._sources))
        if several and len(found) == 1:
            # A column, or the name of its stages without a number, stands for all of them.
            return numbered(f"{found[0]}.{what}", taps) or numbered(found[0], taps) or found
        return found

    def _embeddings(self, side: Side) -> tuple[str, ...]:
        """The columns' embeddings; those that both sides have, where the loss compares two sides."""
        other: Side = "teacher" if side == "student" else "student"
        mine = embeddings_of(self._sources.taps(side))
        if any(parameter.name == f"{side}_reconstructions" for parameter in self._parameters):
            mine = reconstructed(self._sources.taps(side)) or mine
        if not any(parameter.name == f"{other}_embeddings" for parameter in self._parameters):
            return mine
        named = self._name_for(f"{other}_embeddings", other)
        if named is not None:
            return (named,) if isinstance(named, str) else tuple(named)
        return tuple(tap for tap in mine if tap in embeddings_of(self._sources.taps(other)))

    def _columns(self) -> tuple[str, ...]:
        """The columns whose presence the loss asks for: those of its first tuple of one tensor a column; all that the
        student reads without any.
        """
        for side in SIDES:
            known = embeddings_of(self._sources.taps(side))
            for parameter in self._tap_parameters(side):
                columns = tuple(column_of(tap) for tap in self._taps(parameter, side))
                if self._several(parameter) and len(set(columns)) == len(columns) > 0 and {*columns} <= {*known}:
                    return columns
        return embeddings_of(self._sources.student)

    def _tap_parameters(self, side: Side) -> list[inspect.Parameter]:
        """The parameters that are bound to taps of a side."""
        return [
            parameter
            for parameter in self._parameters
            if parameter.name.startswith(f"{side}_") and parameter.name.partition("_")[2] not in _NOT_A_TAP
        ]

    def _name_for(self, name: str, side: Side) -> str | Sequence[str] | None:
        """What the recipe names for an argument: by its own name, or by its side where it is the one that is meant."""
        if name in self._named:
            return self._named[name]
        return self._named.get(side) if name in self._meant(side) else None

    def _meant(self, side: Side) -> list[str]:
        """The arguments that a tap named for a side is for: all but the logits, unless there is nothing else."""
        names = [one.name for one in self._tap_parameters(side) if one.name not in self._named]
        return [name for name in names if name != f"{side}_logits"] or names

    def _check_names(self) -> None:
        """Every tap that is named has to be for one argument."""
        known = [parameter.name for side in SIDES for parameter in self._tap_parameters(side)]
        for key in self._named:
            where = f"{self._where}.taps.{key}"
            if key not in SIDES and key not in known:
                names = [*(side for side in SIDES if self._meant(side)), *known]
                raise InputError(f"The loss takes no {key!r}", where=where, fix=nearest(key, names))
            for side in SIDES:
                meant = self._meant(side)
                if key == side and len(meant) != 1:
                    what = f"takes several: {', '.join(meant)}" if meant else "takes none"
                    fix = "Name a tap for each argument instead" if meant else "Remove this key"
                    raise InputError(f"Of the {side}'s taps the loss {what}", where=where, fix=fix)
        for parameter in (one for side in SIDES for one in self._tap_parameters(side)):
            named = self._name_for(parameter.name, "student" if parameter.name.startswith("student") else "teacher")
            if named is not None and not isinstance(named, str) and not self._several(parameter):
                what = f"The loss takes one tap as {parameter.name!r}, not a list"
                raise InputError(what, where=f"{self._where}.taps", fix="Name one tap")

    def _several(self, parameter: inspect.Parameter) -> bool:
        """Whether an argument is a tuple of tensors."""
        return parameter.name in self._tuples

    def _one_task(self, name: str) -> str:
        if self._task is None:
            raise InputError(
                f"The loss asks for {name!r}, and there are several tasks",
                where=self._where,
                fix=f"Set `task` to one of: {', '.join(self._sources.tasks)}",
            )
        return self._task


def columns_of_student(sources: Sources) -> tuple[str, ...]:
    """The columns that the student reads, in the order of `seen`."""
    return embeddings_of(sources.student) if sources.columns is None else tuple(sources.columns)


def _tuples(function: Callable[..., Any]) -> frozenset[str]:
    """The parameters that are tuples of tensors, by their annotations."""
    bound = getattr(function, "func", function)
    try:
        hints = typing.get_type_hints(bound)
    except NameError:  # an annotation that is there for type checkers only
        hints = dict(inspect.get_annotations(bound))
    return frozenset(name for name, hint in hints.items() if _is_tuple(hint))


def _is_tuple(hint: Any) -> bool:
    if isinstance(hint, str):
        return hint.lower().startswith(("tuple[", "sequence[", "list["))
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_tuple(one) for one in typing.get_args(hint))
    return isinstance(origin, type) and issubclass(origin, Sequence)


def _listed(taps: Mapping[str, Shape]) -> str:
    shown = [tap for tap in taps if not tap.endswith(".mask")]
    return f"are {', '.join(shown)}" if shown else "are none"
