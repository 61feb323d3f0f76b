"""From the `distill` part of a recipe to an objective, with every mismatch found before training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmdistill import catalog
from mmdistill.distill.adapters import Projector, Shape, channels, channels_first, make_projector
from mmdistill.distill.binding import Argument, Binder, Sources
from mmdistill.distill.objective import Objective, Term, term_name
from mmdistill.distill.schedules import always_zero, weight_schedule
from mmdistill.errors import InputError
from mmdistill.recipe.schema import DistillSpec, LossTerm

ADAPTER_SEED = 7919


def build_objective(
    losses: Mapping[str, nn.Module],
    distill: DistillSpec | None = None,
    *,
    student_taps: Mapping[str, Shape],
    teacher_taps: Mapping[str, Shape] | None = None,
    task_weights: Mapping[str, float] | None = None,
    total_steps: int,
    seed: int = 0,
) -> Objective:
    """The objective of a student, or, without `distill`, that of a teacher or a baseline.

    Args:
        losses: task → supervised loss.
        distill: the terms and the weight of the losses on the targets.
        student_taps: shape per row of each tap of the student, None standing for a length that varies (`model.taps`).
        teacher_taps: the same of the teacher.
        task_weights: task → weight of its supervised loss.
        total_steps: optimiser steps of the training.
        seed: of the adapters' first weights; drawing them changes nothing else.

    Raises:
        InputError: when an argument of a loss cannot be bound, class counts differ, two taps do not fit and no adapter
            may join them, or nothing has a weight above zero.
    """
    if distill is None:
        return Objective(losses, task_weights=task_weights, total_steps=total_steps)
    if teacher_taps is None:
        raise InputError("There are distillation losses but no teacher", where="distill", fix="Name a teacher")
    sources = Sources(student_taps, teacher_taps, tuple(losses))
    terms: list[Term] = []
    taken: set[str] = {term_name("supervised", task, tuple(losses)) for task in losses}
    for index, spec in enumerate(distill.losses):
        if always_zero(spec.weight):
            continue
        term = _term(spec, index, sources, taken, total_steps, seed)
        taken.add(term.name)
        terms.append(term)
    return Objective(losses, terms, supervised=distill.supervised, task_weights=task_weights, total_steps=total_steps)


def _term(spec: LossTerm, index: int, sources: Sources, taken: set[str], total_steps: int, seed: int) -> Term:
    where = f"distill.losses[{index}] ({spec.name})"
    entry = catalog.get("loss", spec.name, where=where)
    loss: nn.Module = entry.load()(spec.options())
    arguments = Binder(loss, sources, spec.taps, _task_of(spec, sources, where), where).bind()
    _check_logits(arguments, sources, where)
    compares_shapes = bool(getattr(entry, "equal_widths", True))
    projector, projects = _projector(
        spec, arguments, sources, compares_shapes, where, seed + ADAPTER_SEED * (index + 1)
    )
    name = _free_name(term_name(spec.name, _task_in(arguments, spec), sources.tasks), taken)
    weight = weight_schedule(spec.weight, total_steps, f"{where}.weight")
    return Term(name, loss, arguments, weight, projector, projects)


def _task_of(spec: LossTerm, sources: Sources, where: str) -> str | None:
    if spec.task is not None and spec.task not in sources.tasks:
        raise InputError(
            f"There is no task {spec.task!r}", where=where, fix=f"The tasks are: {', '.join(sources.tasks)}"
        )
    return spec.task or (sources.tasks[0] if len(sources.tasks) == 1 else None)


def _task_in(arguments: list[Argument], spec: LossTerm) -> str | None:
    """The task that names a term: the one asked for, or that of its target."""
    return spec.task or next((one.key for one in arguments if one.origin in ("target", "labelled")), None)


def _free_name(name: str, taken: set[str]) -> str:
    """`name`, or `name_2`, `name_3`… when it is taken."""
    if name not in taken:
        return name
    return next(f"{name}_{number}" for number in range(2, len(taken) + 3) if f"{name}_{number}" not in taken)


def _pairs(arguments: list[Argument]) -> list[tuple[Argument, Argument]]:
    """The student's and the teacher's argument of the same kind, such as student_features and teacher_features."""
    teacher = {one.name.removeprefix("teacher_"): one for one in arguments if one.origin == "teacher"}
    return [
        (one, teacher[one.name.removeprefix("student_")])
        for one in arguments
        if one.origin == "student" and one.name.removeprefix("student_") in teacher and not one.key.endswith(".mask")
    ]


def _check_logits(arguments: list[Argument], sources: Sources, where: str) -> None:
    for student, teacher in _pairs(arguments):
        if student.name != "student_logits":
            continue
        mine, theirs = sources.student[student.key], sources.teacher[teacher.key]
        if mine[-1:] != theirs[-1:]:
            raise InputError(
                f"The student's {student.key!r} has {mine[-1]} outputs, the teacher's {teacher.key!r} has {theirs[-1]}",
                where=where,
                fix="Use a teacher of the same classes, or a loss that compares features",
            )


def _projector(
    spec: LossTerm, arguments: list[Argument], sources: Sources, compares_shapes: bool, where: str, seed: int
) -> tuple[Projector | None, str]:
    """The adapter of a term and the argument that it is applied to."""
    for student, teacher in _pairs(arguments):
        if student.name == "student_logits":
            continue
        mine, theirs = sources.student[student.key], sources.teacher[teacher.key]
        width, wanted = channels(student.key, mine), channels(teacher.key, theirs)
        fits = width == wanted and width is not None
        if compares_shapes:
            _check_axes(student, mine, teacher, theirs, where)
        if spec.adapter == "none" or (spec.adapter == "auto" and (fits or not compares_shapes)):
            if compares_shapes and not fits:
                raise InputError(
                    f"The student's {student.key!r} has width {width}, the teacher's {teacher.key!r} has {wanted}",
                    where=where,
                    fix="Set `adapter` to linear or mlp, or name other taps",
                )
            continue
        if width is None or wanted is None:
            raise InputError(
                f"The width of {student.key!r} or {teacher.key!r} varies with the batch: no adapter joins them",
                where=where,
                fix="Name other taps",
            )
        kind: Any = "linear" if spec.adapter == "auto" else spec.adapter
        first = channels_first(student.key, mine)
        return make_projector(width, wanted, kind, channels_first=first, seed=seed), student.name
    if spec.adapter in ("linear", "mlp"):
        raise InputError(
            "There are no two features for an adapter to join", where=where, fix="Remove `adapter`, it is for features"
        )
    return None, ""


def _check_axes(student: Argument, mine: Shape, teacher: Argument, theirs: Shape, where: str) -> None:
    """Everything but the width has to agree: an adapter joins channels, not lengths or sizes of maps."""
    rest_mine = mine[1:] if channels_first(student.key, mine) else mine[:-1]
    rest_theirs = theirs[1:] if channels_first(teacher.key, theirs) else theirs[:-1]
    same = len(mine) == len(theirs) and channels_first(student.key, mine) == channels_first(teacher.key, theirs)
    known = [(one, other) for one, other in zip(rest_mine, rest_theirs, strict=False) if None not in (one, other)]
    if not same or any(one != other for one, other in known):
        raise InputError(
            f"A row of the student's {student.key!r} has the shape {mine}, one of the teacher's {teacher.key!r} "
            f"{theirs}: no adapter joins them",
            where=where,
            fix="Name other taps, such as `fused` or a column's embedding, with `taps`",
        )
