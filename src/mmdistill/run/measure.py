"""The test rows, opened once after every choice has been made: scores, cost, calibration, agreement, gain."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

from mmdistill import __version__
from mmdistill.data.splits import Splits
from mmdistill.evaluation.agreement import agreement
from mmdistill.evaluation.calibration import calibration
from mmdistill.evaluation.cost import model_cost
from mmdistill.evaluation.modalities import by_subset, collect_by_subset, drops, subset_name, worst_subset
from mmdistill.evaluation.operating_points import operating_point_on_test
from mmdistill.evaluation.predictions import Predictions, write_predictions
from mmdistill.evaluation.significance import task_gain
from mmdistill.evaluation.verdict import retained, verdict
from mmdistill.models.any_model import AnyModel
from mmdistill.run.fusion_facts import fusion_facts
from mmdistill.run.never_seen import subsets_never_seen
from mmdistill.run.plan import Comparison, PlannedModel
from mmdistill.run.validation import validation_logits
from mmdistill.run.workshop import Workshop
from mmdistill.tasks.task import State, Task

Array = np.ndarray[Any, Any]
Scores = dict[str, float | None]
FORMAT = 1
NO_BASELINE = "No baseline was trained beside the student, so no gain can be claimed."


@dataclass(frozen=True)
class Measured:
    """One trained model on the test rows: what goes into results.json, and its logits by task."""

    record: dict[str, Any]
    logits: dict[str, Array]


def measure(shop: Workshop) -> dict[str, Any]:
    """Score every model of a run on its test rows and put results.json together (but for the seconds)."""
    measured = {
        (planned.name, seed): _measure_one(shop, planned, seed)
        for planned in shop.plan.models
        for seed in planned.seeds
    }
    _add_agreement(shop, measured)
    models = {
        planned.name: {
            "role": planned.role,
            "label": _label(planned, cost["columns"]),
            "teacher": planned.teachers[0] if len(planned.teachers) == 1 else None,
            "teachers": list(planned.teachers),
            **cost,
            "runs": [measured[planned.name, seed].record for seed in planned.seeds],
        }
        for planned, cost in ((planned, _cost(shop, planned)) for planned in shop.plan.models)
    }
    majority = _take_majority(models)
    gains = [_gain(shop, comparison, measured) for comparison in shop.plan.comparisons]
    main = next((gain for gain in gains if gain["compared_with"] == "baseline"), None)
    student = next((planned.name for planned in shop.plan.models if planned.role == "student"), None)
    teacher = next(iter(shop.recipe.teachers), None)
    scores = [None if name is None else _mean(models[name], shop.primary_metric) for name in (teacher, student)]
    return {
        "format": FORMAT,
        "name": shop.recipe.name,
        "task": shop.recipe.tasks[shop.primary_task].type,
        "tasks": {name: spec.type for name, spec in shop.recipe.tasks.items()},
        "primary_metric": shop.primary_metric,
        "higher_is_better": shop.higher_is_better,
        "metrics": _directions(shop),
        "verdict": main["verdict"] if main else _no_gain(shop, models),
        "models": models,
        "gain": main,
        "gains": gains,
        "retained": retained(scores[1], scores[0], shop.higher_is_better),
        "compression": models[teacher]["parameters"] / max(1, models[student]["parameters"])
        if teacher and student
        else None,
        "majority": majority,
        "data": shop.dataset.facts(),
        "seeds": list(shop.recipe.seeds),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": __version__,
    }


def _no_gain(shop: Workshop, models: Mapping[str, Any]) -> str:
    """What there is to say where nothing was distilled, or nothing stands beside it."""
    if shop.recipe.students:
        return NO_BASELINE
    said = "No student was trained, so there is no gain to tell."
    known = {name: _mean(models[name], shop.primary_metric, "validation") for name in shop.recipe.teachers}
    scores = {name: score for name, score in known.items() if score is not None}
    if len(scores) < 2:
        return said
    best = (max if shop.higher_is_better else min)(scores, key=lambda name: scores[name])
    metric, test = shop.primary_metric.replace("_", " "), _mean(models[best], shop.primary_metric)
    on_test = f" and {test:.3f} on the test rows" if test is not None else ""
    return f"{said} Of {len(scores)} teachers {best} is the best on validation: {metric} {scores[best]:.3f}{on_test}."


def _measure_one(shop: Workshop, planned: PlannedModel, seed: int) -> Measured:
    """Scores of one trained model for every subset of its columns; its predictions are written on the way."""
    model, card = shop.trained(planned.name, seed)
    dataset, splits = shop.dataset, shop.dataset.splits
    taps = {name: shop.logits_tap(name) for name in dataset.tasks}
    loader = dataset.clean_loader(splits.test, model.feature_names, shop.device)
    found = {
        subset: {tap: values.float().numpy() for tap, values in outputs.items()}
        for subset, outputs in collect_by_subset(model, loader, list(taps.values())).items()
    }
    validation = validation_logits(shop, model, taps)
    states = {name: card["tasks"][name]["state"] for name in dataset.tasks}
    full, groups = subset_name(model.columns), _groups(shop, splits)
    record: dict[str, Any] = {
        "seed": seed,
        "train_seconds": card["training"]["seconds"],
        **{key: card["training"][key] for key in ("epochs", "steps", "best_epoch", "initial_weights")},
        "metrics": {},
        "validation": {},
        "modalities": {subset: {} for subset in found},
    }
    for name, task in dataset.tasks.items():
        state, tap = states[name], taps[name]
        targets = dataset.targets_of(name, splits.test)
        scores = by_subset(task, {subset: outputs[tap] for subset, outputs in found.items()}, targets, state)
        for subset, values in scores.items():
            record["modalities"][subset].update(_named(shop, name, values))
        if validation:
            values = task.metrics(validation[name], dataset.targets_of(name, splits.validation), state)
            record["validation"].update(_named(shop, name, values))
        _write_predictions(shop, planned, seed, name, found, state)
        known = dataset.targets[name][1][splits.test].numpy()
        point = operating_point_on_test(
            task,
            found[full][tap][known],
            targets[known],
            state,
            resamples=shop.recipe.evaluation.resamples,
            groups=None if groups is None else groups[known],
        )
        if point is not None:
            record.setdefault("operating_points", {})[name] = point
    record["metrics"] = dict(record["modalities"][full])
    record.update(_about_subsets(shop, planned, model, record["modalities"]))
    record.update(fusion_facts(shop, model))
    record.update(_more(shop, found[full], validation, taps))
    return Measured(record, {name: found[full][tap] for name, tap in taps.items()})


def _about_subsets(
    shop: Workshop, planned: PlannedModel, model: AnyModel, scores: Mapping[str, Scores]
) -> dict[str, Any]:
    """The worst subset, what each missing column costs, and the subsets that the model was never trained with."""
    directions = {metric: facts["higher_is_better"] for metric, facts in _directions(shop).items()}
    return {
        "worst_subset": worst_subset(scores, shop.primary_metric, shop.higher_is_better),
        "drops": drops(scores, model.columns, directions),
        "never_seen": subsets_never_seen(shop, planned, model, scores),
    }


def _more(
    shop: Workshop, outputs: Mapping[str, Array], validation: Mapping[str, Array], taps: Mapping[str, str]
) -> dict[str, Any]:
    """Per-class table, confusion and calibration of the first task."""
    name = shop.primary_task
    task, state, logits = shop.dataset.tasks[name], shop.dataset.states[name], outputs[taps[name]]
    test = shop.dataset.targets_of(name, shop.dataset.splits.test)
    more: dict[str, Any] = {"details": task.details(logits, test, state)}
    if "classes" in state:
        known = test >= 0
        chosen = shop.dataset.targets_of(name, shop.dataset.splits.validation)
        held = validation.get(name, np.zeros((0, logits.shape[1])))
        more["calibration"] = calibration(logits[known], test[known], held[chosen >= 0], chosen[chosen >= 0])
    return more


def _write_predictions(
    shop: Workshop,
    planned: PlannedModel,
    seed: int,
    task: str,
    found: Mapping[str, Mapping[str, Array]],
    state: State,
) -> None:
    """`predictions.parquet` for the first task, `predictions.<task>.parquet` for others."""
    rows = shop.dataset.splits.test
    name = "predictions.parquet" if task == shop.primary_task else f"predictions.{task}.parquet"
    tap = shop.logits_tap(task)
    values, labelled = (part[rows].numpy() for part in shop.dataset.targets[task])
    predictions = Predictions(
        row=rows,
        target=values,
        labelled=labelled,
        outputs={subset: {"logits": outputs[tap]} for subset, outputs in found.items()},
        split=np.full(len(rows), "test"),
        task=shop.recipe.tasks[task].type,
        state=state,
    )
    write_predictions(shop.folder.seed(planned.name, seed) / name, predictions)


def _named(shop: Workshop, task: str, values: Mapping[str, float | None]) -> Scores:
    """Metrics under their own names, or, with several tasks, with the task's name in front."""
    several = len(shop.dataset.tasks) > 1
    return {f"{task}/{name}" if several else name: value for name, value in values.items()}


def _directions(shop: Workshop) -> dict[str, dict[str, Any]]:
    several = len(shop.dataset.tasks) > 1
    return {
        f"{name}/{metric}" if several else metric: {"higher_is_better": higher, "label": metric.replace("_", " ")}
        for name, task in shop.dataset.tasks.items()
        for metric, higher in task.directions.items()
        if not metric.startswith("majority_")
    }


def _label(planned: PlannedModel, columns: Sequence[str]) -> str:
    """How people call the model: its name and the columns that it reads."""
    return f"{planned.name.replace('-', ' ').capitalize()} ({', '.join(columns)})"


def _take_majority(models: dict[str, Any]) -> dict[str, float]:
    """Move the scores of always answering the commonest class out of the models: they are the same for all."""
    majority: dict[str, float] = {}
    for model in models.values():
        for run in model["runs"]:
            for scores in (run["metrics"], run["validation"], *run["modalities"].values()):
                for name in [name for name in scores if name.rsplit("/")[-1].startswith("majority_")]:
                    value = scores.pop(name)
                    if scores is run["metrics"] and value is not None:
                        majority[name.replace("majority_", "")] = value
    return majority


def _cost(shop: Workshop, planned: PlannedModel) -> dict[str, Any]:
    """Columns, selection and cost, measured on the first seed's weights."""
    model, card = shop.trained(planned.name, planned.seeds[0])
    rows = shop.dataset.splits.test[:64]
    batch = next(shop.dataset.clean_loader(rows, model.feature_names, shop.device).batches(0))
    cost = model_cost(model, batch["features"], batch["present"], repeats=shop.recipe.evaluation.latency_repeats)
    cost["peak_memory_megabytes"] = cost.pop("peak_megabytes")
    return {"columns": list(model.columns), "selection": card["training"]["selection"], **cost}


def _add_agreement(shop: Workshop, measured: Mapping[tuple[str, int], Measured]) -> None:
    """How far each model that learnt from others gives their answers: the mean of their probabilities."""
    name = shop.primary_task
    if "classes" not in shop.dataset.states[name]:
        return
    targets = shop.dataset.targets_of(name, shop.dataset.splits.test)
    for planned in shop.plan.models:
        if not planned.teachers:
            continue
        for seed in planned.seeds:
            taught = [measured[one, shop.teacher_seed(one, seed)].logits[name] for one in planned.teachers]
            own = measured[planned.name, seed]
            own.record["agreement"] = agreement(own.logits[name], _mean_logits(taught), targets)


def _mean_logits(logits: Sequence[Array]) -> Array:
    """The logits of the mean of the probabilities; those of one model as they are."""
    if len(logits) == 1:
        return logits[0]
    mean: Array = logsumexp([log_softmax(one, axis=-1) for one in logits], axis=0) - np.log(len(logits))
    return mean


def _gain(shop: Workshop, comparison: Comparison, measured: Mapping[tuple[str, int], Measured]) -> dict[str, Any]:
    """The paired gain of a student over the model beside it, with its interval and a sentence."""
    name = shop.primary_task
    task: Task = shop.dataset.tasks[name]
    seeds = shop.plan.model(comparison.student).seeds
    targets = shop.dataset.targets_of(name, shop.dataset.splits.test)
    known = targets >= 0 if targets.ndim == 1 else np.ones(len(targets), dtype=bool)
    groups = _groups(shop, shop.dataset.splits)
    gain = task_gain(
        task,
        task.primary,
        [measured[comparison.student, seed].logits[name][known] for seed in seeds],
        [measured[comparison.baseline, seed].logits[name][known] for seed in seeds],
        targets[known],
        shop.dataset.states[name],
        names=(comparison.student, comparison.baseline),
        resamples=shop.recipe.evaluation.resamples,
        groups=None if groups is None else groups[known],
    )
    gain["metric"] = shop.primary_metric
    of_control = shop.plan.model(comparison.baseline).role == "control"
    subject = "The teacher's other columns" if of_control else "Distillation"
    return {**gain, "compared_with": "control" if of_control else "baseline", "verdict": verdict(gain, subject)}


def _groups(shop: Workshop, splits: Splits) -> Array | None:
    """Rows of one patient or speaker are drawn together: the group of every test row."""
    column = shop.recipe.data.split.group
    if column is None:
        return None
    cells = shop.dataset.table.column(column)
    return np.array([str(cells[row]) for row in splits.test])


def _mean(model: Mapping[str, Any], metric: str, rows: str = "metrics") -> float | None:
    """Mean of a metric over the seeds, on test rows or on those of `validation`; None when a seed lacks it."""
    values = [run[rows].get(metric) for run in model["runs"]]
    return None if any(value is None for value in values) else statistics.fmean(values)
