"""Which models a recipe asks for, in the order in which they are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmdistill.recipe import Recipe
from mmdistill.recipe.schema import DistillSpec, ModelSpec, StopSpec, StudentSpec

Role = Literal["teacher", "student", "baseline", "control"]


@dataclass(frozen=True)
class PlannedModel:
    """One model of a run.

    Args:
        name: name of its folder and of its entry in results.json.
        role: what it is for.
        spec: what it is made of.
        seeds: one training each.
        teacher: name of the model whose signals it learns from, if any.
        distill: its objective, if it learns from a teacher.
        beside: for a baseline or a control, the student whose budget it gets.
    """

    name: str
    role: Role
    spec: ModelSpec
    seeds: tuple[int, ...]
    teacher: str | None = None
    distill: DistillSpec | None = None
    beside: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A gain to be told: the student's score against that of the model beside it, seed by seed."""

    student: str
    baseline: str


@dataclass(frozen=True)
class Plan:
    """All models of a run, and what is compared with what at the end."""

    models: tuple[PlannedModel, ...]
    comparisons: tuple[Comparison, ...]

    def model(self, name: str) -> PlannedModel:
        """The planned model of a name."""
        return next(model for model in self.models if model.name == name)


def plan(recipe: Recipe) -> Plan:
    """The models of a recipe: the teacher, its controls, and every student with its baseline.

    Students of the same architecture, training and columns share one baseline: it would be the same model. Where
    training may stop early it would not, as a baseline takes as many steps as the student it stands beside.
    """
    seeds = tuple(recipe.seeds)
    teacher_seeds = seeds if recipe.teacher.per_seed and not recipe.teacher.run else seeds[:1]
    models = [PlannedModel("teacher", "teacher", recipe.teacher, teacher_seeds)]
    comparisons: list[Comparison] = []
    baselines: dict[str, str] = {}
    controls: dict[tuple[str, ...], str] = {}
    for name, spec in recipe.students.items():
        distill = recipe.distill_for(spec)
        models.append(PlannedModel(name, "student", spec, seeds, "teacher", distill))
        if spec.baseline:
            train = recipe.train_for(spec)
            key = f"{_architecture(spec)} {train.model_dump_json()}"
            if train.stop != StopSpec():
                key += f" of {name}"
            if key not in baselines:
                baselines[key] = _beside(name, "baseline")
                models.append(PlannedModel(baselines[key], "baseline", spec, seeds, beside=name))
            comparisons.append(Comparison(name, baselines[key]))
        if recipe.teacher.control:
            columns = tuple(spec.encoders)
            if columns not in controls:
                controls[columns] = _beside(name, "control-teacher")
                models.append(PlannedModel(controls[columns], "control", _only(recipe.teacher, columns), teacher_seeds))
            control = _beside(name, "control")
            models.append(PlannedModel(control, "control", spec, seeds, controls[columns], distill, beside=name))
            comparisons.append(Comparison(name, control))
    return Plan(tuple(models), tuple(comparisons))


def _beside(student: str, what: str) -> str:
    """`baseline` beside `student`, `text-baseline` beside `text`."""
    return what if student == "student" else f"{student}-{what}"


def _architecture(spec: StudentSpec) -> str:
    return spec.model_dump_json(exclude={"distill", "baseline", "train"})


def _only(teacher: ModelSpec, columns: tuple[str, ...]) -> ModelSpec:
    """The teacher's architecture on some of its columns."""
    changes = {
        "encoders": {column: teacher.encoders[column] for column in columns},
        "features": {column: teacher.features[column] for column in columns if column in teacher.features},
        "fusion": teacher.fusion if len(columns) > 1 else None,
    }
    return teacher.model_copy(update=changes)
