"""Which models a recipe asks for, in the order in which they are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmdistill.recipe import Recipe
from mmdistill.recipe.schema import DistillSpec, ModelSpec, StopSpec, StudentSpec, TeacherSpec
from mmdistill.run.unimodal import unimodal_lessons, unimodal_teachers, without_unimodal

Role = Literal["teacher", "student", "baseline", "control", "peer"]


@dataclass(frozen=True)
class PlannedModel:
    """One model of a run.

    Args:
        name: name of its folder and of its entry in results.json.
        role: what it is for.
        spec: what it is made of.
        seeds: one training each.
        teachers: names of the models whose signals it learns from, finished before it or trained along with it.
        distill: its objective, if it learns from another model or from its own past.
        beside: for a baseline or a control, the student whose budget it gets.
        group: names of the models that are trained in one training with it, itself included; empty when it is alone.
        starts_from: the trained model whose weights it begins with.
    """

    name: str
    role: Role
    spec: ModelSpec
    seeds: tuple[int, ...]
    teachers: tuple[str, ...] = ()
    distill: DistillSpec | None = None
    beside: str | None = None
    group: tuple[str, ...] = ()
    starts_from: str | None = None

    @property
    def keeps_head(self) -> bool:
        """Whether its head is its teacher's; a baseline of such a student has its own."""
        return isinstance(self.spec, StudentSpec) and self.spec.head == "teacher" and self.distill is not None

    @property
    def finished_teachers(self) -> tuple[str, ...]:
        """The teachers that are trained before it."""
        return tuple(name for name in self.teachers if name not in self.group)


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
    """The models of a recipe: the teachers, their controls, and every student with its baseline.

    Students of the same architecture, training and columns share one baseline: it would be the same model. Where
    training may stop early it would not, as a baseline takes as many steps as the student it stands beside.
    """
    seeds = tuple(recipe.seeds)
    models = [model for name in recipe.teachers for model in _teacher(recipe, name, seeds)]
    comparisons: list[Comparison] = []
    baselines: dict[str, str] = {}
    controls: dict[tuple[str, ...], str] = {}
    for name in _in_order(recipe):
        spec, distill = recipe.students[name], recipe.distill_for(recipe.students[name])
        models += _student(recipe, name, spec, distill, seeds)
        if spec.baseline:
            train = recipe.train_for(spec)
            key = f"{_architecture(spec)} {train.model_dump_json()}"
            if train.stop != StopSpec():
                key += f" of {name}"
            if key not in baselines:
                baselines[key] = beside(name, "baseline")
                models.append(PlannedModel(baselines[key], "baseline", spec, seeds, beside=name))
            comparisons.append(Comparison(name, baselines[key]))
        for teacher in (one for one in recipe.teachers.values() if one.control):
            columns = tuple(spec.encoders)
            if columns not in controls:
                controls[columns] = beside(name, "control-teacher")
                of_these = PlannedModel(
                    controls[columns], "control", _only(teacher, columns), _teacher_seeds(teacher, seeds)
                )
                models.append(of_these)
            control = beside(name, "control")
            models.append(PlannedModel(control, "control", spec, seeds, (controls[columns],), distill, beside=name))
            comparisons.append(Comparison(name, control))
    return Plan(tuple(models), tuple(comparisons))


def _teacher(recipe: Recipe, name: str, seeds: tuple[int, ...]) -> list[PlannedModel]:
    """A teacher, behind the models of each of its columns alone where it learns from them."""
    spec = recipe.teachers[name]
    own, alone = _teacher_seeds(spec, seeds), unimodal_teachers(name, spec)
    lessons = unimodal_lessons(name, spec, tuple(recipe.tasks))
    before = [PlannedModel(model, "control", _only(spec, (column,)), own) for column, model in alone.items()]
    return [*before, PlannedModel(name, "teacher", spec, own, tuple(alone.values()), lessons)]


def _teacher_seeds(spec: TeacherSpec, seeds: tuple[int, ...]) -> tuple[int, ...]:
    """A teacher that is not trained here has no seeds to choose from."""
    trained_here = spec.run is None and not spec.trained
    return seeds if spec.per_seed and trained_here else seeds[:1]


def _in_order(recipe: Recipe) -> list[str]:
    """The students, each after those it learns from; otherwise as the recipe names them."""
    ordered: list[str] = []

    def add(name: str) -> None:
        for teacher in recipe.teachers_of(name):
            if teacher in recipe.students:
                add(teacher)
        if name not in ordered:
            ordered.append(name)

    for name in recipe.students:
        add(name)
    return ordered


def _student(
    recipe: Recipe, name: str, spec: StudentSpec, distill: DistillSpec, seeds: tuple[int, ...]
) -> list[PlannedModel]:
    """A student, and the models that are trained along with it and would not be trained otherwise."""
    policy = distill.policy.name
    if policy == "own_past":
        return [PlannedModel(name, "student", spec, seeds, distill=distill, group=(name,))]
    if policy == "co_trained":
        (teacher,) = recipe.teachers_of(name)
        along = beside(name, "co-trained")
        group = (name, along)
        own: ModelSpec = recipe.teachers[teacher] if teacher in recipe.teachers else recipe.students[teacher]
        teaching = PlannedModel(
            along, "peer", own, seeds, (name,), _for_teacher(distill), group=group, starts_from=teacher
        )
        return [PlannedModel(name, "student", spec, seeds, (along,), distill, group=group), teaching]
    if policy == "mutual":
        peers = tuple(one for one in recipe.students if recipe.distill_for(recipe.students[one]).policy.name == policy)
        if len(peers) > 1:
            others = tuple(one for one in peers if one != name)
            return [PlannedModel(name, "student", spec, seeds, others, distill, group=peers)]
        peer = beside(name, "peer")
        return [
            PlannedModel(name, "student", spec, seeds, (peer,), distill, group=(name, peer)),
            PlannedModel(peer, "peer", spec, seeds, (name,), distill, group=(name, peer)),
        ]
    return [PlannedModel(name, "student", spec, seeds, recipe.teachers_of(name), distill)]


def _for_teacher(distill: DistillSpec) -> DistillSpec:
    """What a teacher that goes on learning learns from: its student, and the targets."""
    options = distill.policy.options("policy")
    changes = {"supervised": options.supervised, "losses": options.losses or distill.losses}
    return distill.model_copy(update=changes)


def beside(student: str, what: str) -> str:
    """`baseline` beside `student`, `text-baseline` beside `text`."""
    return what if student == "student" else f"{student}-{what}"


def _architecture(spec: StudentSpec) -> str:
    """What a baseline has of a student. A head that is the teacher's is no part of it: that is distillation."""
    return spec.model_dump_json(exclude={"distill", "baseline", "train", "teacher", "head"})


def _only(teacher: ModelSpec, columns: tuple[str, ...]) -> ModelSpec:
    """The teacher's architecture on some of its columns."""
    changes = {
        "encoders": {column: teacher.encoders[column] for column in columns},
        "features": {column: teacher.features[column] for column in columns if column in teacher.features},
        "fusion": teacher.fusion if len(columns) > 1 else None,
    }
    return without_unimodal(teacher.model_copy(update=changes))
