"""A training in stages, each with an objective of its own: hints before logits, a paraphraser before its student."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mmdistill.data.loader import Loader
from mmdistill.distill.objective import Objective, Term
from mmdistill.errors import InputError, nearest
from mmdistill.files import disk_errors, read_json, write_json, written_aside
from mmdistill.models.any_model import AnyModel
from mmdistill.recipe.schema import StageSpec, TrainSpec
from mmdistill.run.modality_training import modality_training
from mmdistill.run.plan import PlannedModel
from mmdistill.run.teaching import Models, lengths, make_objective, make_signals
from mmdistill.run.workshop import Workshop, validator
from mmdistill.training.checkpoint import remove_checkpoint
from mmdistill.training.history import FILE_NAME, Row, write_history
from mmdistill.training.loop import fit
from mmdistill.training.phase import student_phase
from mmdistill.training.state import TrainResult

WEIGHTS, DONE = "stage.safetensors", "stage.json"


def learn_in_stages(
    shop: Workshop,
    planned: PlannedModel,
    seed: int,
    train: TrainSpec,
    model: AnyModel,
    teachers: Models,
    loader: Loader,
) -> TrainResult:
    """Train a model stage by stage. What a loss has learnt goes on to the next stage that has a term of its name.

    The stages share the epochs of `train`, so that the model takes as many steps as its baseline. Each has its own
    schedule of the learning rate and its own optimiser. All but the last keep their last weights. A finished stage is
    kept until the training is over, so that a run that is resumed does not repeat it.

    Raises:
        Interrupted: after Ctrl-C, with a checkpoint written.
        InputError: when there are fewer epochs than stages, or a part that should not learn does not exist.
    """
    assert planned.distill is not None
    stages = planned.distill.stages
    epochs = epochs_of(stages, train.epochs)
    folder = shop.folder.seed(planned.name, seed)
    results: list[dict[str, Any]] = []
    learnt: Objective | None = None
    for number, stage in enumerate(stages):
        last = number == len(stages) - 1
        changes = {"epochs": epochs[number], "select": train.select if last else "last"}
        own = train.model_copy(update=changes)
        distill = planned.distill.for_stage(stage)
        objective = make_objective(shop, planned, seed, model, teachers, *lengths(len(loader), own), distill=distill)
        if learnt is not None:
            carry_over(learnt, objective)
        home = folder / f"stage-{number + 1}"
        if (home / DONE).exists():
            _restore(home, model, objective)
        else:
            with frozen(model, objective, stage.freeze, f"distill.stages[{number}].freeze"):
                result = _learn_stage(shop, planned, seed, own, model, teachers, loader, objective, home)
            _keep(home, model, objective, result)
        results.append(read_json(home / DONE))
        learnt = objective
    write_history(folder / FILE_NAME, joined_history([result["history"] for result in results]))
    together = _together(results)
    for number in range(len(stages)):
        _remove(folder / f"stage-{number + 1}")
    return together


def _learn_stage(
    shop: Workshop,
    planned: PlannedModel,
    seed: int,
    train: TrainSpec,
    model: AnyModel,
    teachers: Models,
    loader: Loader,
    objective: Objective,
    home: Path,
) -> TrainResult:
    modalities = modality_training(shop, planned, seed, model, lengths(len(loader), train))
    phase = student_phase(
        f"{planned.name}, seed {seed}, {home.name}",
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
        folder=home,
        validate=validator(shop, model, modalities.probes),
        higher_is_better=shop.higher_is_better,
        fingerprint=shop.fingerprint,
        progress=shop.progress,
    )


def epochs_of(stages: list[StageSpec], epochs: int) -> list[int]:
    """The epochs of each stage: its share, rounded so that they sum up to all, at least one each.

    Raises:
        InputError: when there are fewer epochs than stages.
    """
    if epochs < len(stages):
        raise InputError(
            f"There are {len(stages)} stages and {epochs} epochs",
            where="distill.stages",
            fix="Give every stage an epoch: raise train.epochs",
        )
    ends = [round(epochs * math.fsum(stage.share for stage in stages[: number + 1])) for number in range(len(stages))]
    for number in range(len(stages)):  # at least one epoch each, and one left for each that follows
        least = (ends[number - 1] if number else 0) + 1
        ends[number] = min(max(ends[number], least), epochs - (len(stages) - 1 - number))
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def carry_over(learnt: Objective, following: Objective) -> None:
    """Give the terms of the next stage what terms of the same name, loss and shapes have learnt."""
    before = {term.name: term for term in learnt.terms if isinstance(term, Term)}
    for term in following.terms:
        assert isinstance(term, Term)
        held = before.get(term.name)
        if held is None or type(held.loss) is not type(term.loss):
            continue
        state = held.state_dict()
        if {name: value.shape for name, value in state.items()} == {
            name: value.shape for name, value in term.state_dict().items()
        }:
            term.load_state_dict(state)


@contextmanager
def frozen(model: nn.Module, objective: Objective, paths: list[str], where: str) -> Iterator[None]:
    """Parts of the model, or of the losses (`terms.<name>`), learn nothing inside.

    Raises:
        InputError: when there is no such part, or nothing is left that learns.
    """
    parts = {**dict(model.named_modules()), **{f"terms.{term.name}": term for term in objective.terms}}
    held: list[nn.Parameter] = []
    for path in paths:
        if path not in parts or not path:
            raise InputError(
                f"The student has no part {path!r}", where=where, fix=nearest(path, [one for one in parts if one])
            )
        held += [parameter for parameter in parts[path].parameters() if parameter.requires_grad]
    try:
        for parameter in held:
            parameter.requires_grad_(False)
        if not any(one.requires_grad for module in (model, objective) for one in module.parameters()):
            raise InputError("Nothing is left that learns in this stage", where=where, fix="Freeze fewer parts")
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)


def joined_history(histories: list[list[Row]]) -> list[Row]:
    """The rows of all stages as one history: epochs, steps and seconds go on; terms of other stages are empty."""
    columns = list(dict.fromkeys(name for rows in histories for row in rows for name in row))
    ordered = [name for name in columns if name not in LAST] + [name for name in columns if name in LAST]
    joined: list[Row] = []
    for rows in histories:
        before = joined[-1] if joined else {}
        for row in rows:
            going_on = {name: (row[name] or 0) + (before.get(name) or 0) for name in ("epoch", "step", "seconds")}
            joined.append({name: going_on.get(name, row.get(name)) for name in ordered})
    return joined


LAST = ("validation_score", "seconds", "samples_per_second")


def _keep(home: Path, model: nn.Module, objective: Objective, result: TrainResult) -> None:
    """Keep a finished stage: its weights first, then the file that says that it is done."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in _tensors(model, objective).items()}
    with written_aside(home / WEIGHTS) as aside, disk_errors(aside):
        save_file(tensors, aside)
    write_json(home / DONE, {**vars(result)})
    remove_checkpoint(home)


def _restore(home: Path, model: nn.Module, objective: Objective) -> None:
    held = load_file(home / WEIGHTS)
    with torch.no_grad():
        for name, value in _tensors(model, objective).items():
            value.copy_(held[name])


def _tensors(model: nn.Module, objective: Objective) -> dict[str, torch.Tensor]:
    """Every tensor once, under its first name: tied weights have several."""
    parts: Mapping[str, nn.Module] = {"model": model, "objective": objective}
    found: dict[int, tuple[str, torch.Tensor]] = {}
    for part, module in parts.items():
        for name, value in module.state_dict(keep_vars=True).items():
            found.setdefault(id(value), (f"{part}.{name}", value))
    return dict(found.values())


def _together(results: list[dict[str, Any]]) -> TrainResult:
    last = results[-1]
    before = sum(result["epochs"] for result in results[:-1])
    return TrainResult(
        steps=sum(result["steps"] for result in results),
        epochs=before + last["epochs"],
        best_epoch=before + last["best_epoch"],
        best_score=last["best_score"],
        seconds=math.fsum(result["seconds"] for result in results),
        stopped_by=last["stopped_by"],
        history=joined_history([result["history"] for result in results]),
    )


def _remove(home: Path) -> None:
    """Remove a stage that is part of a finished training."""
    for name in (WEIGHTS, DONE, FILE_NAME):
        (home / name).unlink(missing_ok=True)
    if home.exists() and not any(home.iterdir()):
        home.rmdir()
