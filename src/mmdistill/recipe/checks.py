"""Checks of a recipe that go beyond the type of a key: names in the catalog, and keys that contradict each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from mmdistill import catalog
from mmdistill.errors import InputError, nearest
from mmdistill.recipe.balances import bad_balances
from mmdistill.recipe.columns import bad_columns_of
from mmdistill.recipe.document import KeyPath
from mmdistill.recipe.loss_terms import bad_term
from mmdistill.recipe.policies import bad_policies, bad_stages, bad_teachers
from mmdistill.recipe.problems import Problem, problems_of
from mmdistill.recipe.schema import (
    Component,
    DistillSpec,
    LossTerm,
    LossWeight,
    ModelSpec,
    TrainSpec,
    merge,
)

if TYPE_CHECKING:
    from mmdistill.recipe.recipe import Recipe

RESERVED_COLUMNS = ("logits", "fused")
"""Outputs of every model; a column of that name could not be told from them."""
BESIDE = ("baseline", "control", "control-teacher", "peer", "co-trained")
"""What models that a run adds to a student are called: with its name in front, or alone beside `student`."""
MODEL_COMPONENTS = {"fusion": "fusion", "missing": "missing strategy", "modality_dropout": "modality dropout"}
"""Keys of a model that hold one component, and its kind."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def components(recipe: Recipe) -> Iterator[tuple[KeyPath, str, Any]]:
    """Every component with its key path and its kind (losses and tasks hold their options themselves)."""
    columns = recipe.data.columns
    for at, spec in model_paths(recipe):
        for column, encoder in spec.encoders.items():
            if column in columns:
                yield (*at, "encoders", column), f"{columns[column].type} encoder", encoder
        for key, kind in MODEL_COMPONENTS.items():
            chosen = getattr(spec, key)
            if chosen is not None:
                yield (*at, key), kind, chosen
        for number, balance in enumerate(spec.modality_balance):
            yield (*at, "modality_balance", number), "modality balance", balance
    yield ("train", "optimizer"), "optimizer", recipe.train.optimizer
    yield ("train", "schedule"), "schedule", recipe.train.schedule
    for at, distill in distillations(recipe):
        yield (*at, "combine"), "combination", distill.combine
        yield (*at, "policy"), "policy", distill.policy
        for path, term in _terms(at, distill):
            yield path, "loss", _LossOptions(term)
            yield (*path, "adapter"), "adapter", term.adapter
            for number, transform in enumerate(term.transforms):
                yield (*path, "transforms", number), "transform", transform
            for number, sample_weight in enumerate(term.sample_weight):
                yield (*path, "sample_weight", number), "sample weight", sample_weight


def distillations(recipe: Recipe) -> list[tuple[KeyPath, DistillSpec]]:
    """The recipe's own objective and those of students that have one."""
    own = [(("students", name, "distill"), spec.distill) for name, spec in recipe.students.items() if spec.distill]
    return [(("distill",), recipe.distill), *own]


def _terms(at: KeyPath, distill: DistillSpec) -> Iterator[tuple[KeyPath, LossTerm]]:
    """The terms of an objective and of its stages, with their key paths."""
    for index, term in enumerate(distill.losses):
        yield (*at, "losses", index), term
    for number, stage in enumerate(distill.stages):
        for index, term in enumerate(stage.losses or ()):
            yield (*at, "stages", number, "losses", index), term


class _LossOptions:
    """A loss term seen as a component: its options are typed by the catalog of losses."""

    def __init__(self, term: Any) -> None:
        self.name, self.model_extra = term.name, term.model_extra

    def options(self, kind: str) -> Any:
        return catalog.get(kind, self.name).options.model_validate(self.model_extra or {})


def component_problems(recipe: Recipe) -> Iterator[Problem]:
    """Unknown names and options that their typed models refuse."""
    checks: list[tuple[KeyPath, str, str, Any]] = []
    known = set(catalog.names("modality"))
    for name, column in recipe.data.columns.items():
        key: KeyPath = ("data", "columns", name) if column.type in known else ("data", "columns", name, "type")
        checks.append((key, "modality", column.type, column.model_extra))
        if column.augment is not None and column.type in known:
            checks.append((("data", "columns", name, "augment"), "augmentation", column.type, column.augment))
    for name, task in recipe.tasks.items():
        checks.append((("tasks", name), "task", task.type, task.model_extra))
    for path, kind, component in components(recipe):
        if not kind.endswith(" encoder") or kind.removesuffix(" encoder") in known:
            checks.append((path, kind, component.name, component.model_extra))
    for path, kind, named, options in checks:
        yield from _option_problems(path, kind, named, options)
    for at, spec in model_paths(recipe):
        for name, settings in spec.features.items():
            own = recipe.data.columns.get(name)
            if own is not None:
                merged = merge(own.model_extra or {}, settings)
                yield from _option_problems((*at, "features", name), "modality", own.type, merged)
        try:
            train = recipe.train_for(spec)
        except ValidationError as error:
            yield from problems_of(error, (*at, "train"), TrainSpec)
        else:
            for part in sorted({"optimizer", "schedule"} & set(spec.train)):
                chosen: Component = getattr(train, part)
                yield from _option_problems((*at, "train", part), part, chosen.name, chosen.model_extra)


def _option_problems(path: KeyPath, kind: str, name: str, options: Mapping[str, Any] | None) -> Iterator[Problem]:
    try:
        entry = catalog.get(kind, name)
    except InputError as error:
        yield Problem(path, error.what, error.fix)
        return
    try:
        entry.options.model_validate(options or {})
    except ValidationError as error:
        yield from problems_of(error, path, entry.options)


def model_paths(recipe: Recipe) -> list[tuple[KeyPath, ModelSpec]]:
    """Every teacher and student with its key path."""
    teachers: list[tuple[KeyPath, ModelSpec]] = [(("teachers", name), spec) for name, spec in recipe.teachers.items()]
    return teachers + [(("students", name), spec) for name, spec in recipe.students.items()]


def contradictions(recipe: Recipe) -> Iterator[Problem]:
    """Keys that are valid alone and wrong together."""
    yield from _bad_names(recipe)
    yield from bad_teachers(recipe)
    unknown = list(_bad_columns(recipe))
    yield from unknown
    if unknown:
        return
    for at, spec in model_paths(recipe):
        yield from _bad_model(recipe, at, spec)
    yield from bad_policies(recipe)
    yield from bad_stages(recipe)
    yield from _bad_signals(recipe)
    yield from _bad_targets(recipe)
    yield from _bad_objectives(recipe)
    for at, distill in distillations(recipe):
        for path, term in _terms(at, distill):
            yield from bad_term(path, term)
    if "probe" in recipe.tasks:
        what = "A task cannot be called 'probe': the losses of probes are called so in the history"
        yield Problem(("tasks", "probe"), what, "Choose another name and keep its `target`")
    for column in sorted(set(RESERVED_COLUMNS) & set(recipe.data.columns)):
        what = f"A column cannot be called {column!r}: an output of every model is called so"
        yield Problem(("data", "columns", column), what, f"Rename it and keep `source: {column}`")
    if len(set(recipe.seeds)) != len(recipe.seeds):
        yield Problem(("seeds",), "A seed stands twice, which would count one run as two", "Keep each seed once")


def _bad_names(recipe: Recipe) -> Iterator[Problem]:
    named: list[tuple[KeyPath, str]] = [(("name",), recipe.name)]
    named += [(("teachers", name), name) for name in recipe.teachers]
    named += [(("students", name), name) for name in recipe.students]
    for at, name in named:
        if not NAME.fullmatch(name):
            yield Problem(at, f"{name!r} cannot name a folder", "Use letters, digits, dots, underscores and hyphens")
    taken = {"baseline", "control", "control-teacher", "signals", "figures", *recipe.teachers}
    for name in set(recipe.students) & taken:
        yield Problem(("students", name), f"{name!r} is taken by another folder", "Choose another name for the student")
    beside = {f"{name}-{what}" for name in recipe.students for what in BESIDE} | set(BESIDE)
    for at, name in named[1:]:
        if name in beside:
            what = f"{name!r} is what a model beside another student is called"
            yield Problem(at, what, "Choose another name")


def _bad_columns(recipe: Recipe) -> Iterator[Problem]:
    """Columns that a model names and the table does not describe."""
    columns = list(recipe.data.columns)
    for at, spec in model_paths(recipe):
        for key in ("encoders", "features"):
            for column in getattr(spec, key):
                if column not in columns:
                    what = f"There is no column {column!r} in data.columns"
                    yield Problem((*at, key, column), what, nearest(column, columns))
        for argument, array in (spec.custom.inputs if spec.custom else {}).items():
            column = array if array in columns else array.rpartition(".")[0]
            if column not in columns:
                what = f"There is no column {column or array!r} in data.columns"
                yield Problem((*at, "custom", "inputs", argument), what, nearest(column or array, columns))


def _bad_model(recipe: Recipe, at: KeyPath, spec: ModelSpec) -> Iterator[Problem]:
    yield from _bad_source(at, spec)
    for column in set(spec.features) - set(recipe.columns_of(spec)):
        what = f"This model does not read {column!r}"
        yield Problem((*at, "features", column), what, "Add an encoder for it or remove this key")
    for key in ("fusion", "missing", "modality_balance", "probes"):
        if getattr(spec, key) and not spec.encoders:
            what = f"`{key}` is for models of encoders, and this one is not made of them here"
            yield Problem((*at, key), what, "Remove this key")
    if spec.encoders:
        yield from bad_balances(recipe, at, spec)
    yield from bad_columns_of(recipe, at, spec)
    train = recipe.train_for(spec)
    if recipe.data.split.validation == 0 and recipe.data.split.column is None:
        needs = {"stop": train.stop.patience or train.stop.target, "select": train.select == "best"}
        for key in (key for key, needed in needs.items() if needed):
            what = f"`{key}` needs validation rows and there are none"
            yield Problem((*at, "train", key), what, "Set data.split.validation, or select: last")


def _bad_source(at: KeyPath, spec: ModelSpec) -> Iterator[Problem]:
    """A model is made of encoders or is a custom one; a teacher may come from a run instead."""
    sources = {"encoders": bool(spec.encoders), "custom": spec.custom is not None}
    if at[0] == "teachers":
        sources["run"] = getattr(spec, "run", None) is not None
    given = [name for name, there in sources.items() if there]
    if len(given) != 1:
        choice, kind = " or ".join(f"`{name}`" for name in sources), str(at[0]).removesuffix("s")
        both = f", not {' and '.join(given)}" if given else ""
        yield Problem(at, f"A {kind} has exactly one of {choice}{both}", "Keep one of them, or add one")
    if spec.custom is not None and spec.custom.onnx is not None and not getattr(spec, "trained", False):
        what = "An ONNX file cannot be trained"
        yield Problem((*at, "custom", "onnx"), what, "Use it as a teacher, with `trained: true`")


def _bad_objectives(recipe: Recipe) -> Iterator[Problem]:
    """A student that learns nothing from its teacher would be called distilled all the same."""
    for name, student in recipe.students.items():
        distill = recipe.distill_for(student)
        if not any(_counts(term.weight) for _, term in _terms((), distill)):
            at: KeyPath = ("distill", "losses") if student.distill is None else ("students", name, "distill", "losses")
            what = f"The student {name!r} learns nothing from the teacher: no loss has a weight above 0"
            yield Problem(at, what, "Name a loss of `mmdistill list losses`; the baseline learns without a teacher")


def _counts(weight: float | LossWeight) -> bool:
    return not weight.always_zero if isinstance(weight, LossWeight) else weight > 0


def _bad_signals(recipe: Recipe) -> Iterator[Problem]:
    """Signals of clean rows cannot teach a student that sees other views of them."""
    columns = recipe.data.columns
    for name, student in recipe.students.items():
        if recipe.distill_for(student).signals.store is not True:
            continue
        at: KeyPath = ("students", name, "distill") if student.distill else ("distill",)
        specs = [recipe.model_specs().get(teacher) for teacher in recipe.teachers_of(name)]
        read = {column for spec in specs if spec is not None for column in recipe.columns_of(spec)}
        varied = sorted(column for column in read if columns[column].augment)
        why = f"the column {varied[0]!r}, which the teacher reads, is augmented" if varied else ""
        why = "rows are mixed by train.mixup" if recipe.train_for(student).mixup is not None else why
        if why:
            what = f"Signals stored for clean rows cannot be used, because {why}"
            yield Problem((*at, "signals", "store"), what, "Set it to false, or switch that off")


def _bad_targets(recipe: Recipe) -> Iterator[Problem]:
    for name, task in recipe.tasks.items():
        target = task.target or recipe.data.target
        if target is None:
            yield Problem(("tasks", name), "No target column is named", "Set data.target")
        for column, spec in recipe.data.columns.items():
            if (spec.source or column) == target:
                what = f"{target!r} is the target: a model that reads it learns nothing else"
                yield Problem(("data", "columns", column), what, "Remove it from data.columns")
