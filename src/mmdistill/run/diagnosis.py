"""All parts of a diagnosis put together: the content of `diagnosis.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdistill import __version__
from mmdistill.evaluation.diagnosis.advice import advise
from mmdistill.evaluation.diagnosis.data import Probed, describe_pairs, describe_subsets, probe_subsets
from mmdistill.evaluation.diagnosis.estimates import Estimate
from mmdistill.evaluation.diagnosis.gain import expected_gain
from mmdistill.evaluation.diagnosis.label_efficiency import doubling, label_curve, taught_gain
from mmdistill.evaluation.diagnosis.teacher import TeacherOutputs, describe_teacher, teach_probe
from mmdistill.recipe import Recipe
from mmdistill.run.dataset import Dataset
from mmdistill.run.diagnosed_models import describe_student, teacher_outputs, trained_seeds
from mmdistill.run.diagnosed_rows import DiagnosedRows, diagnosed_rows, stores
from mmdistill.run.workshop import Workshop

FORMAT = 1


def diagnosis_of_rows(dataset: Dataset) -> dict[str, Any]:
    """What classical probes say of a recipe's rows, without a network.

    Args:
        dataset: without its test rows.

    Raises:
        InputError: when there are no validation rows, or the task has no classes.
    """
    recipe = dataset.recipe
    rows = diagnosed_rows(dataset, next(iter(recipe.tasks)))
    students = _student_columns(recipe)
    teachers = {name: recipe.columns_of(spec) or tuple(rows.plain.columns) for name, spec in recipe.teachers.items()}
    probed = probe_subsets(rows.plain, [*students.values(), *teachers.values()])
    found = _of_data(dataset, rows, probed, students)
    gains = {
        name: _gain_by_probes(rows, probed, columns, tuple(sorted(set().union(*teachers.values()))))
        for name, columns in students.items()
        if teachers
    }
    return _finished({**found, "teachers": {}, "models": {}, "gain": gains}, recipe)


def diagnosis_of_run(shop: Workshop, rows: DiagnosedRows) -> dict[str, Any]:
    """Everything about a run whose models are finished, all or some.

    Args:
        shop: of the run, its dataset without test rows.
        rows: of the same dataset.
    """
    students = _student_columns(shop.recipe)
    said: dict[str, TeacherOutputs] = {}
    for planned in shop.plan.models:
        if planned.role == "teacher" and trained_seeds(shop, planned):
            said[planned.name] = teacher_outputs(shop, rows, planned, trained_seeds(shop, planned)[0])
    probed = probe_subsets(rows.plain, [*students.values(), *(one.columns for one in said.values())])
    teachers = {
        name: {
            **describe_teacher(rows.plain, probed, one, students),
            "modality_dropout": shop.plan.model(name).spec.modality_dropout is not None,
        }
        for name, one in said.items()
    }
    models: dict[str, Any] = {}
    scores: dict[str, Estimate] = {}
    for planned in shop.plan.models:
        if planned.role != "teacher" and (found := describe_student(shop, rows, planned, said)) is not None:
            models[planned.name], scores[planned.name] = found
    gains = {name: _gain(shop, rows, probed, name, said, teachers, scores) for name in students if said}
    found_in_data = _of_data(shop.dataset, rows, probed, students)
    return _finished({**found_in_data, "teachers": teachers, "models": models, "gain": gains}, shop.recipe)


def _student_columns(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    return {name: recipe.columns_of(spec) for name, spec in recipe.students.items()}


def _finished(found: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    whole = {"format": FORMAT, "name": recipe.name, "version": __version__, **found}
    return {**whole, "advice": advise(whole)}


def _of_data(
    dataset: Dataset, rows: DiagnosedRows, probed: Probed, students: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """What the rows alone say."""
    plain, scorer = rows.plain, rows.plain.scorer
    columns = list(plain.columns)
    described = describe_subsets(probed.scores, columns, scorer)
    curves = {}
    for chosen in dict.fromkeys([tuple(columns), *students.values()]):
        curve = label_curve(plain.seen_labelled(chosen), plain.labels, scorer, plain.class_weight)
        twice = doubling(curve)
        curves["+".join(chosen)] = {
            "curve": [
                {"fraction": fraction, "labels": labels, "score": scorer.score_json(score)}
                for fraction, labels, score in curve
            ],
            "doubling": None if twice is None else twice.to_json(),
        }
    task = next(iter(dataset.tasks))
    return {
        "task": dataset.recipe.tasks[task].type,
        "primary_metric": scorer.task.primary,
        "higher_is_better": scorer.sign > 0,
        "classes": len(scorer.state["classes"]),
        "rows": {
            "labelled": rows.all_labelled,
            "unlabelled": rows.all_unlabelled,
            "validation": len(rows.validation),
            "labelled_used": int(plain.labelled.sum()),
            "unlabelled_used": int((~plain.labelled).sum()),
        },
        "columns": {column: _column(dataset, column, rows) for column in columns},
        "students": {name: list(chosen) for name, chosen in students.items()},
        "probes": {**described, "pairs": describe_pairs(probed.scores, probed.logits, columns, scorer.targets)},
        "label_efficiency": curves,
    }


def _column(dataset: Dataset, column: str, rows: DiagnosedRows) -> dict[str, Any]:
    present = dataset.prepared.present[column].numpy()
    return {
        "type": stores(dataset)[column].info.type,
        "missing_train": float(1 - present[rows.train].mean()),
        "missing_validation": float(1 - present[rows.validation].mean()),
    }


def _gain_by_probes(
    rows: DiagnosedRows, probed: Probed, columns: tuple[str, ...], teacher: tuple[str, ...]
) -> dict[str, Any]:
    """The expected gain when a linear model of the teacher's columns stands for the teacher."""
    plain, taught, headroom = rows.plain, None, None
    if set(columns) != set(teacher):
        headroom = probed.scores[frozenset(teacher)] - probed.scores[frozenset(columns)]
    if rows.all_unlabelled and headroom is not None:
        seen = plain.seen(columns).train[~plain.labelled]
        said = probed.of_unlabelled[frozenset(teacher)]
        found = taught_gain(plain.seen_labelled(columns), seen, plain.labels, said, plain.scorer, plain.class_weight)
        taught = found["gain"]
    return {"by": "linear models", **expected_gain(headroom, unlabelled=rows.all_unlabelled, taught=taught)}


def _gain(
    shop: Workshop,
    rows: DiagnosedRows,
    probed: Probed,
    student: str,
    said: Mapping[str, TeacherOutputs],
    teachers: Mapping[str, Any],
    scores: Mapping[str, Estimate],
) -> dict[str, Any]:
    """The expected gain of one student from its best teacher."""
    columns = shop.recipe.columns_of(shop.recipe.students[student])
    its_own = [name for name in shop.recipe.teachers_of(student) if name in said] or list(said)
    best = max(its_own, key=lambda name: rows.plain.scorer(said[name].logits[1]).value)
    alone = [probed.scores[frozenset(columns)]]
    baselines = [one.baseline for one in shop.plan.comparisons if one.student == student]
    baseline = next((name for name in baselines if shop.plan.model(name).role == "baseline"), None)
    measured = None
    if baseline is not None and baseline in scores:
        alone.append(scores[baseline])
        measured = scores[student] - scores[baseline] if student in scores else None
    taught = teach_probe(rows.plain, said[best], columns)
    found = expected_gain(
        rows.plain.scorer(said[best].logits[1]) - max(alone, key=lambda one: one.value),
        unlabelled=rows.all_unlabelled,
        taught=None if taught is None else taught["gain"],
        visible=teachers[best]["visibility"][student]["logits"],
        measured=measured,
    )
    return {"by": best, **found}
