"""Training one planned model of a run: its rows, its budget, its teachers' signals."""

from __future__ import annotations

from pathlib import Path

import torch
from tensordict import TensorDict

from mmdistill.data.loader import Loader
from mmdistill.distill.objective import Objective
from mmdistill.distill.several import side_by_side
from mmdistill.distill.signals import LiveTeacher
from mmdistill.distill.store import weights_digest
from mmdistill.errors import InputError
from mmdistill.models.any_model import AnyModel
from mmdistill.models.saving import save_model
from mmdistill.recipe.schema import StopSpec, TrainSpec
from mmdistill.run.card import model_card
from mmdistill.run.modality_training import modality_training
from mmdistill.run.plan import PlannedModel
from mmdistill.run.rows import feature_names, train_loader, training_rows
from mmdistill.run.staged import frozen, learn_in_stages
from mmdistill.run.teaching import (
    Models,
    check_signals,
    finished_teachers,
    lengths,
    make_objective,
    make_signals,
    partly_seen,
    taps_of_teachers,
)
from mmdistill.run.together import learn_together
from mmdistill.run.workshop import Workshop, new_model, validator
from mmdistill.training.checkpoint import remove_checkpoint
from mmdistill.training.loop import fit
from mmdistill.training.phase import student_phase
from mmdistill.training.state import TrainResult


def learn(shop: Workshop, planned: PlannedModel, seed: int) -> None:
    """Train one model and save it with its card; nothing is done when that has been done before.

    A model of a group is trained with the whole group.

    Raises:
        Interrupted: after Ctrl-C, with a checkpoint written.
        InputError: when its objective does not fit its teachers.
    """
    if shop.folder.is_trained(planned.name, seed):
        return
    if planned.group:
        learn_together(shop, planned, seed)
        return
    folder = shop.folder.seed(planned.name, seed)
    train = shop.recipe.train_for(planned.spec)
    teachers = finished_teachers(shop, planned, seed)
    model = new_model(shop, planned, seed, teachers)
    initial = weights_digest(model)
    if planned.distill is not None and planned.distill.stages:
        loader = train_loader(shop, planned, train, feature_names(model, teachers), seed)
        result = learn_in_stages(shop, planned, seed, train, model, teachers, loader)
    else:
        result = _learn_at_once(shop, planned, seed, train, model, teachers, folder)
    save_model(folder, model, model_card(shop, planned, model, seed, train, result, initial))
    remove_checkpoint(folder)


def _learn_at_once(
    shop: Workshop,
    planned: PlannedModel,
    seed: int,
    train: TrainSpec,
    model: AnyModel,
    teachers: Models,
    folder: Path,
) -> TrainResult:
    loader, max_steps, train = _budget(shop, planned, seed, train, feature_names(model, teachers))
    steps = lengths(len(loader), train)
    objective = make_objective(shop, planned, seed, model, teachers, *steps)
    modalities = modality_training(shop, planned, seed, model, steps)
    phase = student_phase(
        f"{planned.name}, seed {seed}",
        model,
        objective,
        train,
        signals=make_signals(shop, planned, seed, train, teachers, objective),
        modalities=modalities,
        device=shop.device,
    )
    return fit(
        phase,
        loader,
        train,
        accelerator=shop.accelerator,
        seed=seed,
        folder=folder,
        validate=validator(shop, model, modalities.probes),
        higher_is_better=shop.higher_is_better,
        max_steps=max_steps,
        fingerprint=shop.fingerprint,
        progress=shop.progress,
    )


def rehearse(shop: Workshop) -> None:
    """The first step of every student, with teachers that may have learnt nothing yet, so that an objective that does
    not fit its teachers is refused before they are trained, and so is a stage that freezes what is not there. Nothing
    is kept.

    Raises:
        InputError: when an objective does not fit, or a teacher gives NaN.
    """
    for planned in shop.plan.models:
        seed = planned.seeds[0]
        if planned.distill is None or shop.folder.is_trained(planned.name, seed):
            continue
        train = shop.recipe.train_for(planned.spec)
        model = as_it_is(shop, planned.name, seed).to(shop.device)
        teachers = {name: as_it_is(shop, name, seed).to(shop.device) for name in planned.teachers} or {"past": model}
        check_signals(shop, planned, train, {name: teachers[name] for name in planned.finished_teachers})
        batch = next(train_loader(shop, planned, train, feature_names(model, teachers), seed).batches(0))
        stages = planned.distill.stages
        for number, distill in enumerate(planned.distill.in_stages()):
            objective = make_objective(shop, planned, seed, model, teachers, 1, 1, distill=distill, scored=False)
            _first_step(shop, objective.to(shop.device), batch, model, teachers)
            if stages:
                with frozen(model, objective, stages[number].freeze, f"distill.stages[{number}].freeze"):
                    pass


@torch.no_grad()
def _first_step(shop: Workshop, objective: Objective, batch: TensorDict, model: AnyModel, teachers: Models) -> None:
    said = {}
    for name, taps in taps_of_teachers(objective, teachers).items():
        said[name] = LiveTeacher(teachers[name], taps, partly_seen(shop, teachers[name]))(batch)
        for tap, value in said[name].items():
            if not bool(value.isfinite().all()):
                raise InputError(
                    f"The {tap!r} of the teacher {name!r} are NaN or infinite",
                    where="distill",
                    fix="Look at its weights, and at what it makes of these rows",
                )
    signals = next(iter(said.values())) if len(said) == 1 else side_by_side(said)
    objective(batch, model(batch["features"], batch["present"]), signals, 0)


def as_it_is(shop: Workshop, name: str, seed: int) -> AnyModel:
    """A model of the plan: trained if it has been trained, what it starts from, or new."""
    planned = shop.plan.model(name)
    if shop.folder.is_trained(name, shop.teacher_seed(name, seed)):
        return shop.trained(name, shop.teacher_seed(name, seed))[0]
    if planned.starts_from is not None:
        return as_it_is(shop, planned.starts_from, seed)
    teachers = {one: as_it_is(shop, one, seed) for one in planned.teachers} if planned.keeps_head else None
    return new_model(shop, planned, seed, teachers)


def _budget(
    shop: Workshop, planned: PlannedModel, seed: int, train: TrainSpec, features: list[str]
) -> tuple[Loader, int | None, TrainSpec]:
    """Batches, number of steps and settings of a training.

    A model that learns from targets alone sees labelled rows only. One that stands beside a student takes as many steps
    of the same size: its batches come from an endless stream over its rows, and it ends where the student ended.
    """
    if planned.beside is None:
        return train_loader(shop, planned, train, features, seed), None, train
    rows = training_rows(shop, planned)
    every = shop.dataset.train_rows(labelled_only=False)
    steps = None
    if len(rows) < len(every):
        steps = len(shop.dataset.train_loader(every, train, features, seed, shop.device))
    card = shop.trained(planned.beside, seed)[1]
    loader = shop.dataset.train_loader(rows, train, features, seed, shop.device, steps)
    return loader, int(card["training"]["steps"]), train.model_copy(update={"stop": StopSpec()})
