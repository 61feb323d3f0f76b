"""Training one planned model of a run: its rows, its budget, its teacher's signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from mmdistill.data.loader import Loader
from mmdistill.distill.build import build_objective
from mmdistill.distill.objective import Objective
from mmdistill.distill.signals import LiveTeacher, Signals, choose_signals, store_or_not
from mmdistill.distill.store import weights_digest
from mmdistill.errors import InputError
from mmdistill.models.inference import collect
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.models.saving import load_model, save_model
from mmdistill.models.tap_names import logits_tap
from mmdistill.recipe import Recipe
from mmdistill.recipe.schema import ModelSpec, StopSpec, TrainSpec
from mmdistill.run.dataset import Dataset, Rows
from mmdistill.run.folder import RunFolder
from mmdistill.run.plan import Plan, PlannedModel
from mmdistill.training.checkpoint import remove_checkpoint
from mmdistill.training.loop import fit, total_steps
from mmdistill.training.phase import student_phase
from mmdistill.training.progress import Progress
from mmdistill.training.state import TrainResult


@dataclass(frozen=True)
class Workshop:
    """What the training of every model of a run needs."""

    recipe: Recipe
    plan: Plan
    folder: RunFolder
    dataset: Dataset
    accelerator: Accelerator
    progress: Progress

    @property
    def device(self) -> torch.device:
        """Where models are trained."""
        return self.accelerator.device

    @property
    def primary_task(self) -> str:
        """The task whose primary metric selects models and states the gain: the first."""
        return next(iter(self.dataset.tasks))

    @property
    def primary_metric(self) -> str:
        """Name of that metric; with several tasks the task's name stands in front."""
        metric = self.dataset.tasks[self.primary_task].primary
        return metric if len(self.dataset.tasks) == 1 else f"{self.primary_task}/{metric}"

    @property
    def higher_is_better(self) -> bool:
        """Direction of that metric."""
        task = self.dataset.tasks[self.primary_task]
        return task.directions[task.primary]

    def logits_tap(self, task: str) -> str:
        """The tap of a task's logits."""
        return logits_tap(task, tuple(self.dataset.tasks))

    def trained(self, name: str, seed: int) -> tuple[MultimodalModel, dict[str, Any]]:
        """A finished model of the run and its card."""
        return load_model(self.folder.seed(name, seed), self.device)

    def teacher_seed(self, name: str, seed: int) -> int:
        """The seed of the teacher that a student of `seed` learns from."""
        seeds = self.plan.model(name).seeds
        return seed if seed in seeds else seeds[0]


def learn(shop: Workshop, planned: PlannedModel, seed: int) -> None:
    """Train one model and save it with its card; nothing is done when that has been done before.

    Raises:
        Interrupted: after Ctrl-C, with a checkpoint written.
        InputError: when its objective does not fit its teacher.
    """
    if shop.folder.is_trained(planned.name, seed):
        return
    folder = shop.folder.seed(planned.name, seed)
    train = shop.recipe.train_for(planned.spec)
    model = new_model(shop.dataset, planned.spec, seed)
    initial = weights_digest(model)
    teacher = _teacher(shop, planned, seed)
    loader, max_steps, train = _budget(shop, planned, seed, train, model, teacher)
    objective = _objective(shop, planned, seed, train, model, teacher, len(loader))
    signals = _signals(shop, planned, seed, train, teacher, objective)
    phase = student_phase(
        f"{planned.name}, seed {seed}",
        model,
        objective,
        train,
        signals=signals,
        modality_dropout=planned.spec.modality_dropout,
        always_present=[column for column in model.columns if bool(shop.dataset.prepared.present[column].all())],
        seed=seed,
        device=shop.device,
    )
    result = fit(
        phase,
        loader,
        train,
        accelerator=shop.accelerator,
        seed=seed,
        folder=folder,
        validate=validator(shop, model),
        higher_is_better=shop.higher_is_better,
        max_steps=max_steps,
        fingerprint={"data": shop.dataset.prepared.fingerprint, "recipe": shop.recipe.digest()},
        progress=shop.progress,
    )
    save_model(folder, model, _card(shop, planned, seed, train, result, initial))
    remove_checkpoint(folder)


def rehearse(shop: Workshop) -> None:
    """The first step of every student, with a teacher that has learnt nothing yet, so that an objective that does not
    fit its teacher is refused before the teacher is trained. Nothing is kept.

    Raises:
        InputError: when an objective does not fit.
    """
    for planned in shop.plan.models:
        if planned.teacher is None or shop.folder.is_trained(
            planned.teacher, shop.plan.model(planned.teacher).seeds[0]
        ):
            continue
        seed = planned.seeds[0]
        train = shop.recipe.train_for(planned.spec)
        model = new_model(shop.dataset, planned.spec, seed).to(shop.device)
        teacher = new_model(shop.dataset, shop.plan.model(planned.teacher).spec, seed).to(shop.device)
        objective = _objective(shop, planned, seed, train, model, teacher, 1).to(shop.device)
        assert planned.distill is not None
        store_or_not(planned.distill.signals, teacher.columns, _varied(shop), train.mixup is not None)
        rows = shop.dataset.train_rows(labelled_only=False)
        loader = _loader(shop, rows, train, _feature_names(model, teacher), seed)
        batch = next(loader.batches(0))
        with torch.no_grad():
            signals = LiveTeacher(teacher, objective.teacher_taps)
            objective(batch, model(batch["features"], batch["present"]), signals(batch), 0)


def new_model(dataset: Dataset, spec: ModelSpec, seed: int) -> MultimodalModel:
    """An untrained model of a recipe; its weights depend on the specification and the seed alone."""
    heads = {name: task.output_size(dataset.states[name]) for name, task in dataset.tasks.items()}
    return build_model(spec, dataset.infos(spec), heads, seed)


def validator(shop: Workshop, model: MultimodalModel) -> Callable[[], float] | None:
    """The validation score of a model as a function; None where there are no validation rows."""
    rows = shop.dataset.splits.validation
    if not len(rows):
        return None
    name = shop.primary_task
    task, state, tap = shop.dataset.tasks[name], shop.dataset.states[name], shop.logits_tap(name)
    loader = shop.dataset.clean_loader(rows, model.feature_names, shop.device)
    targets = shop.dataset.targets_of(name, rows)

    def validate() -> float:
        score = task.quick_metrics(collect(model, loader, [tap])[tap], targets, state)[task.primary]
        if score is None:
            raise InputError(
                f"The metric {task.primary!r} is not defined on the validation rows",
                where="data.split",
                fix="Give the validation split rows of every class, or choose another primary metric",
            )
        return score

    return validate


def _teacher(shop: Workshop, planned: PlannedModel, seed: int) -> MultimodalModel | None:
    if planned.teacher is None:
        return None
    return shop.trained(planned.teacher, shop.teacher_seed(planned.teacher, seed))[0]


def _budget(
    shop: Workshop,
    planned: PlannedModel,
    seed: int,
    train: TrainSpec,
    model: MultimodalModel,
    teacher: MultimodalModel | None,
) -> tuple[Loader, int | None, TrainSpec]:
    """Batches, number of steps and settings of a training.

    A model without a teacher sees labelled rows only. One that stands beside a student takes as many steps of the same
    size: its batches come from an endless stream over its rows, and it ends where the student ended.
    """
    rows = shop.dataset.train_rows(labelled_only=planned.teacher is None)
    features = _feature_names(model, teacher)
    if planned.beside is None:
        return _loader(shop, rows, train, features, seed), None, train
    every = shop.dataset.train_rows(labelled_only=False)
    steps = len(_loader(shop, every, train, features, seed)) if len(rows) < len(every) else None
    card = shop.trained(planned.beside, seed)[1]
    beside = train.model_copy(update={"stop": StopSpec()})
    return _loader(shop, rows, train, features, seed, steps), int(card["training"]["steps"]), beside


def _loader(
    shop: Workshop, rows: Rows, train: TrainSpec, features: list[str], seed: int, steps: int | None = None
) -> Loader:
    return shop.dataset.train_loader(rows, train, features, seed, shop.device, steps)


def _feature_names(model: MultimodalModel, teacher: MultimodalModel | None) -> list[str]:
    names = [*model.feature_names, *(teacher.feature_names if teacher is not None else ())]
    return list(dict.fromkeys(names))


def _objective(
    shop: Workshop,
    planned: PlannedModel,
    seed: int,
    train: TrainSpec,
    model: MultimodalModel,
    teacher: MultimodalModel | None,
    batches: int,
) -> Objective:
    return build_objective(
        {name: task.loss for name, task in shop.dataset.tasks.items()},
        planned.distill if teacher is not None else None,
        student_taps=model.taps,
        teacher_taps=teacher.taps if teacher is not None else None,
        task_weights={name: spec.weight for name, spec in shop.recipe.tasks.items()},
        total_steps=total_steps(batches, train),
        seed=seed,
    )


def _signals(
    shop: Workshop,
    planned: PlannedModel,
    seed: int,
    train: TrainSpec,
    teacher: MultimodalModel | None,
    objective: Objective,
) -> Signals | None:
    if teacher is None or planned.teacher is None or planned.distill is None:
        return None
    rows = shop.dataset.train_rows(labelled_only=False)
    present = torch.stack([shop.dataset.prepared.present[column][torch.from_numpy(rows)] for column in teacher.columns])
    return choose_signals(
        planned.distill.signals,
        teacher,
        objective.teacher_taps,
        shop.dataset.clean_loader(rows, teacher.feature_names, shop.device),
        varied=_varied(shop),
        mixup=train.mixup is not None,
        folder=shop.folder.path / "signals" / f"{planned.teacher}-seed-{shop.teacher_seed(planned.teacher, seed)}",
        identity={"data": shop.dataset.prepared.fingerprint},
        present=present.any(dim=0),
    )


def _varied(shop: Workshop) -> list[str]:
    """The columns that are augmented in training."""
    return [name for name, column in shop.recipe.data.columns.items() if _varies(column.augmentation())]


def _varies(options: Any) -> bool:
    return options is not None and options.varies


def _card(
    shop: Workshop, planned: PlannedModel, seed: int, train: TrainSpec, result: TrainResult, initial: str
) -> dict[str, Any]:
    """What is kept beside the weights: tasks with their states, and how the model was trained."""
    return {
        "name": planned.name,
        "role": planned.role,
        "seed": seed,
        "run": shop.recipe.name,
        "tasks": task_cards(shop.recipe, shop.dataset),
        "data": shop.dataset.identity(),
        "training": {
            "steps": result.steps,
            "epochs": result.epochs,
            "best_epoch": result.best_epoch,
            "best_score": result.best_score,
            "seconds": result.seconds,
            "stopped_by": result.stopped_by,
            "selection": "best validation"
            if train.select == "best" and result.best_score is not None
            else "last epoch",
            "initial_weights": initial,
        },
    }


def task_cards(recipe: Recipe, dataset: Dataset) -> Mapping[str, Any]:
    """Each task's type, options and state: enough to score and to decode a model without its recipe."""
    return {
        name: {
            "type": spec.type,
            "options": spec.options().model_dump(mode="json"),
            "state": dataset.states[name],
            "target": spec.target or recipe.data.target,
        }
        for name, spec in recipe.tasks.items()
    }
