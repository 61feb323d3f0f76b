"""From the `distill` part of a recipe to an objective, with every mismatch found before training."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.distill.adapters.make import make_adapters
from mmdistill.distill.adapters.resampler import Resampler
from mmdistill.distill.arguments import Argument, Sources, tensor_pairs
from mmdistill.distill.binding import Binder, columns_of_student
from mmdistill.distill.combinations.combination import Combination
from mmdistill.distill.heads import fitting_heads
from mmdistill.distill.layout import layout
from mmdistill.distill.objective import Objective, term_name
from mmdistill.distill.schedules import always_zero, weight_schedule
from mmdistill.distill.term import BOTH_LOGITS, Bound, Term
from mmdistill.errors import InputError
from mmdistill.losses.module import DistillationLoss, Shape
from mmdistill.models.tap_names import mask_tap
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
    steps_per_epoch: int | None = None,
    student_columns: Sequence[str] | None = None,
    student_heads: Mapping[str, nn.Module] | None = None,
    teacher_heads: Mapping[str, nn.Module] | None = None,
    rows: Tensor | None = None,
    targets: Mapping[str, Tensor] | None = None,
    combination: Combination | None = None,
    modules: Mapping[int, nn.Module] | None = None,
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
        steps_per_epoch: optimiser steps of an epoch, for weights that count epochs.
        student_columns: the columns that the student reads, in its order (`model.columns`); where left out, those whose
            embeddings are among its taps.
        student_heads: task → head of the student (`model.heads`), for losses that read its weight. They stay the
            model's and are no part of the objective.
        teacher_heads: the same of the teacher.
        rows: int64 (N,), the row numbers that training will show, for losses with a memory of rows.
        targets: task → int64 (N,), the classes of these rows, negative where there is none.
        combination: of several teachers; `teacher_taps` then holds its taps and `<teacher>:<tap>` for each of theirs.
        modules: number of a term → its loss, for losses that were made by hand and need not be in the catalog.
        seed: of the first weights of adapters and losses; drawing them changes nothing else.

    Raises:
        InputError: when an argument of a loss cannot be bound, class counts differ, two taps do not fit and no adapter
            may join them, or nothing has a weight above zero.
    """
    if distill is None:
        return Objective(losses, task_weights=task_weights, total_steps=total_steps)
    if teacher_taps is None:
        raise InputError("There are distillation losses but no teacher", where="distill", fix="Name a teacher")
    heads = _by_task(student_heads), _by_task(teacher_heads)
    sources = Sources(student_taps, teacher_taps, tuple(losses), *heads, student_columns)
    make = _TermMaker(sources, total_steps, steps_per_epoch, rows, targets or {}, modules or {}, seed)
    terms: list[Term] = []
    taken: set[str] = {term_name("supervised", task, tuple(losses)) for task in losses}
    for index, spec in enumerate(distill.losses):
        if always_zero(spec.weight):
            continue
        where = f"distill.losses[{index}] ({spec.name})"
        with _told_where(where):
            term = make.term(spec, index, taken, where)
        taken.add(term.name)
        terms.append(term)
    return Objective(
        losses,
        terms,
        supervised=distill.supervised,
        task_weights=task_weights,
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        balanced=distill.balance == "gradient_norm",
        combination=combination,
    )


@dataclass(frozen=True)
class _TermMaker:
    """What all terms of an objective are made with; see `build_objective`."""

    sources: Sources
    total_steps: int
    steps_per_epoch: int | None
    rows: Tensor | None
    targets: Mapping[str, Tensor]
    modules: Mapping[int, nn.Module]
    seed: int

    def term(self, spec: LossTerm, index: int, taken: set[str], where: str) -> Term:
        """A term with adapters, transforms, sample weights and whatever its loss learns."""
        sources = self.sources
        entry, loss = self._loss(spec, index, where)
        task = self._task_of(spec, where)
        arguments = Binder(loss.forward, sources, spec.taps, task, where).bind()
        _check_logits(arguments, sources, where)
        arguments = fitting_heads(arguments, sources, where)
        self._check_targets(spec, arguments, where)
        seed = self.seed + ADAPTER_SEED * (index + 1)
        adapters = make_adapters(spec.adapter, arguments, sources, entry, seed=seed)
        arguments = _masks_after(arguments, adapters, sources)
        if isinstance(loss, DistillationLoss):
            target = next((one.key for one in arguments if one.origin == "target"), task)
            classes = self.targets.get(target) if target is not None else None
            loss.build(_shapes(arguments, adapters, sources), rows=self.rows, targets=classes, seed=seed)
        weight = weight_schedule(spec.weight, self.total_steps, f"{where}.weight", steps_per_epoch=self.steps_per_epoch)
        return Term(
            _free_name(term_name(spec.name, _task_in(arguments, spec), sources.tasks), taken),
            loss,
            arguments,
            weight,
            adapters=adapters,
            transforms=self._transforms(spec, arguments, task, where, seed),
            sample_weights=self._sample_weights(spec, arguments, task, where),
            heads={"student": sources.student_heads, "teacher": sources.teacher_heads},
        )

    def _loss(self, spec: LossTerm, index: int, where: str) -> tuple[catalog.Entry, nn.Module]:
        """The loss of a term, and what is declared about it: nothing, where somebody made it by hand."""
        if index not in self.modules:
            entry = catalog.get("loss", spec.name, where=where)
            return entry, entry.load()(spec.options())
        loss = self.modules[index]
        target = f"{type(loss).__module__}:{type(loss).__qualname__}"
        known = (entry for entry in catalog.entries("loss") if entry.target == target)
        return next(known, catalog.Entry("loss", spec.name, target)), loss

    def _task_of(self, spec: LossTerm, where: str) -> str | None:
        tasks = self.sources.tasks
        if spec.task is not None and spec.task not in tasks:
            raise InputError(f"There is no task {spec.task!r}", where=where, fix=f"The tasks are: {', '.join(tasks)}")
        return spec.task or (tasks[0] if len(tasks) == 1 else None)

    def _check_targets(self, spec: LossTerm, arguments: Sequence[Argument], where: str) -> None:
        """A loss that needs targets must be able to leave out rows that have none."""
        origins = {one.origin for one in arguments}
        if "target" not in origins or origins & {"weight", "labelled"}:
            return
        known = self.targets.get(next(one.key for one in arguments if one.origin == "target"))
        if known is not None and bool((known < 0).any()):
            raise InputError(
                f"The loss {spec.name!r} needs targets and takes no weight, and some rows have no target",
                where=where,
                fix="Choose a loss that takes a weight, or leave rows without a target out",
            )

    def _transforms(
        self, spec: LossTerm, arguments: Sequence[Argument], task: str | None, where: str, seed: int
    ) -> list[Bound]:
        where = f"{where}.transforms"
        if spec.transforms and not {one.name for one in arguments}.issuperset(BOTH_LOGITS):
            what = "Transforms are for the logits of both sides, and this loss does not compare them"
            raise InputError(what, where=where, fix="Remove this key")
        made: list[Bound] = []
        for component in spec.transforms:
            catalog.get("transform", component.name, where=where)
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                module: nn.Module = component.build("transform")
            bound = Binder(module.forward, self.sources, {}, task, where, given=BOTH_LOGITS).bind()
            made.append(Bound(module, tuple(bound)))
        return made

    def _sample_weights(
        self, spec: LossTerm, arguments: Sequence[Argument], task: str | None, where: str
    ) -> list[Bound]:
        where = f"{where}.sample_weight"
        if spec.sample_weight and not any(one.origin == "weight" for one in arguments):
            what = f"The loss {spec.name!r} takes no weight, so that no row can count more than another"
            raise InputError(what, where=where, fix="Remove this key, or choose a loss that takes a weight")
        made = []
        for component in spec.sample_weight:
            entry = catalog.get("sample weight", component.name, where=where)
            typed = component.options("sample weight")
            typed.check(columns_of_student(self.sources), where)
            options = typed.model_dump()
            function = functools.partial(entry.load(), **options)
            bound = Binder(function, self.sources, {}, task, where, given=options).bind()
            for one in bound:
                if one.kind == "logits" and any(len(shape) != 1 for shape in self.sources.shapes(one)):
                    what = f"A sample weight reads one set of logits a row, and {one.key!r} has one a position"
                    raise InputError(what, where=where, fix="Remove this key")
            made.append(Bound(function, tuple(bound)))
        return made


def _by_task(heads: Mapping[str, nn.Module] | None) -> dict[str, nn.Module]:
    """A plain mapping, which a model's own may not be."""
    return {} if heads is None else {task: heads[task] for task in heads}


@contextmanager
def _told_where(where: str) -> Iterator[None]:
    """Errors that name no key of the recipe get this one."""
    try:
        yield
    except InputError as error:
        if error.where:
            raise
        raise type(error)(error.what, where=where, fix=error.fix) from error


def _task_in(arguments: Sequence[Argument], spec: LossTerm) -> str | None:
    """The task that names a term: the one asked for, or that of its target."""
    return spec.task or next((one.key for one in arguments if one.origin in ("target", "labelled")), None)


def _free_name(name: str, taken: set[str]) -> str:
    """`name`, or `name_2`, `name_3`… when it is taken."""
    if name not in taken:
        return name
    return next(f"{name}_{number}" for number in range(2, len(taken) + 3) if f"{name}_{number}" not in taken)


def _check_logits(arguments: Sequence[Argument], sources: Sources, where: str) -> None:
    for student, teacher in tensor_pairs(arguments):
        if student.kind != "logits":
            continue
        mine, theirs = sources.student[student.key], sources.teacher[teacher.key]
        if mine[-1:] != theirs[-1:]:
            raise InputError(
                f"The student's {student.key!r} has {mine[-1]} outputs, the teacher's {teacher.key!r} has {theirs[-1]}",
                where=where,
                fix="Use a teacher of the same classes, or a loss that compares features",
            )


def _masks_after(
    arguments: list[Argument], adapters: Mapping[str, Sequence[nn.Module | None]], sources: Sources
) -> list[Argument]:
    """The arguments with the teacher's mask for tokens that were brought to the teacher's length."""
    resampled = {name for name, each in adapters.items() if any(isinstance(one, Resampler) for one in each)}
    if not resampled:
        return arguments
    teacher = {one.kind: one for one in arguments if one.origin == "teacher"}
    masks = {mask_tap(one.key): mask_tap(teacher[one.kind].key) for one in arguments if one.name in resampled}
    changed = []
    for one in arguments:
        if one.origin not in ("student", "student lengths") or one.key not in masks:
            changed.append(one)
        elif masks[one.key] in sources.teacher:
            origin = "teacher" if one.origin == "student" else "teacher lengths"
            changed.append(Argument(one.name, origin, (masks[one.key],)))  # type: ignore[arg-type]
    return changed


def _shapes(
    arguments: Sequence[Argument], adapters: Mapping[str, Sequence[nn.Module | None]], sources: Sources
) -> dict[str, Shape | tuple[Shape, ...]]:
    """Argument → shape of one row of what the loss is given, the student's after its adapters."""
    shapes: dict[str, Shape | tuple[Shape, ...]] = {}
    teacher = {one.kind: one for one in arguments if one.origin == "teacher"}
    for one in arguments:
        if one.origin in ("student head", "teacher head"):
            heads = sources.heads("student" if one.origin == "student head" else "teacher")
            part = getattr(heads[one.key], one.keys[1].removeprefix("head_"))
            shapes[one.name] = tuple(part.shape)
        if one.origin not in ("student", "teacher") or one.kind == "mask":
            continue
        each = sources.shapes(one)
        if one.name in adapters:
            others = sources.shapes(teacher[one.kind])
            each = tuple(
                shape if adapter is None else _adapted(one, key, shape, other, adapter)
                for key, shape, other, adapter in zip(one.keys, each, others, adapters[one.name], strict=True)
            )
        shapes[one.name] = each if one.several else each[0]
    return shapes


def _adapted(argument: Argument, key: str, shape: Shape, teacher: Shape, adapter: nn.Module) -> Shape:
    """The shape of a row behind its adapter: the teacher's channels, and its sizes where they are brought to them."""
    if isinstance(adapter, Resampler) or getattr(adapter, "size", None) is not None:
        return teacher
    student = layout(argument.kind, key, shape)
    width = layout(argument.kind, key, teacher).width
    return shape if width is None else student.with_width(width)
