"""Who teaches a planned model: the finished models, what they say together, and the objective that listens to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from mmdistill import catalog
from mmdistill.distill.build import build_objective
from mmdistill.distill.combinations.combination import BETWEEN, Classroom, Combination, Teaching, tap_of
from mmdistill.distill.objective import Objective
from mmdistill.distill.several import SeveralTeachers
from mmdistill.distill.signals import Signals, choose_signals, store_or_not
from mmdistill.models.any_model import AnyModel
from mmdistill.recipe.schema import DistillSpec, TrainSpec
from mmdistill.run.plan import PlannedModel
from mmdistill.run.workshop import Workshop, validator
from mmdistill.training.loop import total_steps

Models = Mapping[str, AnyModel]


@dataclass(frozen=True)
class Lessons:
    """What a model is taught with.

    Args:
        objective: the losses.
        signals: what finished teachers say about a batch; None where there are none.
    """

    objective: Objective
    signals: Signals | None = None


def finished_teachers(shop: Workshop, planned: PlannedModel, seed: int) -> dict[str, AnyModel]:
    """The trained models that a model learns from, by name."""
    return {name: shop.trained(name, shop.teacher_seed(name, seed))[0] for name in planned.finished_teachers}


def make_objective(
    shop: Workshop,
    planned: PlannedModel,
    seed: int,
    model: AnyModel,
    teachers: Models,
    total_steps: int,
    steps_per_epoch: int,
    *,
    distill: DistillSpec | None = None,
    scored: bool = True,
) -> Objective:
    """The objective of a model that learns from `teachers`, or from the targets alone where there are none.

    Args:
        shop: the run.
        planned: the model's place in it.
        seed: of adapters and learned losses.
        model: what learns.
        teachers: whose taps the losses are bound to.
        total_steps: optimiser steps of the training.
        steps_per_epoch: optimiser steps of an epoch.
        distill: instead of the plan's.
        scored: whether the teachers are trained, so that their validation scores mean something.

    Raises:
        InputError: when it does not fit.
    """
    distill = distill or planned.distill
    combination, taps = None, None
    if len(teachers) > 1 and distill is not None:
        combination = _combination(shop, distill, seed, model, teachers, scored)
        taps = {tap_of(name, tap): shape for name, one in teachers.items() for tap, shape in one.taps.items()}
        taps |= combination.taps
    elif teachers:
        taps = dict(next(iter(teachers.values())).taps)
    rows = torch.from_numpy(shop.dataset.train_rows(labelled_only=False))
    return build_objective(
        {name: task.loss for name, task in shop.dataset.tasks.items()},
        distill if taps is not None else None,
        student_taps=model.taps,
        teacher_taps=taps,
        task_weights={name: spec.weight for name, spec in shop.recipe.tasks.items()},
        total_steps=total_steps,
        steps_per_epoch=steps_per_epoch,
        student_columns=model.columns,
        student_heads=getattr(model, "heads", None),
        teacher_heads=getattr(next(iter(teachers.values())), "heads", None) if len(teachers) == 1 else None,
        rows=rows,
        targets=_classes(shop, rows),
        combination=combination,
        seed=seed,
    )


def lengths(batches: int, train: TrainSpec) -> tuple[int, int]:
    """Optimiser steps of a whole training and of one of its epochs."""
    steps = total_steps(batches, train)
    return steps, steps // train.epochs


def _classes(shop: Workshop, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """Task → the classes of some rows, negative where there is none; tasks without classes are left out."""
    classes = {}
    for name, (values, labelled) in shop.dataset.targets.items():
        if values.dim() == 1 and not values.is_floating_point():
            classes[name] = torch.where(labelled[rows], values[rows], -1)
    return classes


def _combination(
    shop: Workshop, distill: DistillSpec, seed: int, model: AnyModel, teachers: Models, scored: bool
) -> Combination:
    sign = 1.0 if shop.higher_is_better else -1.0
    wanted = catalog.get("combination", distill.combine.name).load().reads_scores

    def score(teacher: AnyModel) -> float | None:
        validate = validator(shop, teacher) if wanted else None
        return None if validate is None else sign * (validate().score if scored else 0.0)

    facts = tuple(Teaching(name, one.taps, tuple(one.columns), score(one)) for name, one in teachers.items())
    logits = {task: shop.logits_tap(task) for task in shop.dataset.tasks}
    room = Classroom(facts, logits, model.taps, tuple(model.columns), seed)
    combination: Combination = distill.combine.build("combination", room)
    return combination


def make_signals(
    shop: Workshop, planned: PlannedModel, seed: int, train: TrainSpec, teachers: Models, objective: Objective
) -> Signals | None:
    """What the finished teachers say: stored where that is right, else computed for every batch."""
    if not teachers or planned.distill is None:
        return None
    rows = shop.dataset.train_rows(labelled_only=False)
    sources: dict[str, Signals] = {}
    for name, taps in taps_of_teachers(objective, teachers).items():
        teacher = teachers[name]
        sources[name] = choose_signals(
            planned.distill.signals,
            teacher,
            taps,
            shop.dataset.clean_loader(rows, teacher.feature_names, shop.device),
            varied=varied_columns(shop),
            mixup=train.mixup is not None,
            folder=shop.folder.path / "signals" / f"{name}-seed-{shop.teacher_seed(name, seed)}",
            identity={"data": shop.dataset.prepared.fingerprint},
            present=seen(shop, teacher),
        )
    return sources[next(iter(sources))] if len(sources) == 1 else SeveralTeachers(sources)


def seen(shop: Workshop, model: AnyModel) -> torch.Tensor:
    """Bool (N,), in ascending order of row numbers: which training rows have a column that a model reads."""
    rows = torch.from_numpy(shop.dataset.train_rows(labelled_only=False))
    return torch.stack([shop.dataset.prepared.present[column][rows] for column in model.columns]).any(dim=0)


def partly_seen(shop: Workshop, model: AnyModel) -> tuple[str, ...]:
    """The columns that a model reads, where a training row lacks all of them; else none."""
    return () if bool(seen(shop, model).all()) else tuple(model.columns)


def taps_of_teachers(objective: Objective, teachers: Iterable[str]) -> dict[str, set[str]]:
    """Teacher → the taps that an objective and its combination read of it."""
    names = list(teachers)
    if objective.combination is None:
        return {names[0]: set(objective.teacher_taps)}
    wanted = objective.teacher_taps
    return {
        name: {tap.removeprefix(name + BETWEEN) for tap in wanted if tap.startswith(name + BETWEEN)}
        | objective.combination.needs(name)
        for name in names
    }


def check_signals(shop: Workshop, planned: PlannedModel, train: TrainSpec, teachers: Models) -> None:
    """Refuse stored signals that could not be right.

    Raises:
        InputError: naming the column that is augmented, or mixup.
    """
    assert planned.distill is not None
    for teacher in teachers.values():
        store_or_not(planned.distill.signals, teacher.columns, varied_columns(shop), train.mixup is not None)


def varied_columns(shop: Workshop) -> list[str]:
    """The columns that are augmented in training."""
    options = {name: column.augmentation() for name, column in shop.recipe.data.columns.items()}
    return [name for name, one in options.items() if one is not None and one.varies]
