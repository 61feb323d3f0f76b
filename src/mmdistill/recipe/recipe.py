"""The recipe: one typed document that says everything a run depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from mmdistill.errors import InputError
from mmdistill.recipe.checks import component_problems, components, contradictions
from mmdistill.recipe.document import Document, KeyPath, apply_overrides, dump_yaml, read_document
from mmdistill.recipe.problems import explain, problems_of
from mmdistill.recipe.schema import (
    ComputeSpec,
    DataSpec,
    DistillSpec,
    EvaluationSpec,
    ModelSpec,
    Spec,
    StudentSpec,
    TaskSpec,
    TeacherSpec,
    TrainSpec,
    merge,
)

SHORT_FORMS = {"task": "tasks", "teacher": "teachers", "student": "students"}


def _seeds(value: Any) -> Any:
    return list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value


class Recipe(Spec):
    """What to learn from which table, with which teacher and students.

    Short forms: `task` for one entry of `tasks` (named after its target), `teacher` and `student` for one entry of
    `teachers` and `students`, `seeds: 5` for `[0, 1, 2, 3, 4]`, and a bare name wherever a component has options of its
    own.
    """

    name: str = Field(description="Name of the run and of its folder.")
    data: DataSpec = Field(description="The table, its columns and its splits.")
    tasks: dict[str, TaskSpec] = Field(min_length=1, description="What is predicted, by name. Short form: `task`.")
    teachers: dict[str, TeacherSpec] = Field(
        default_factory=dict, description="The models that teach, by name. Short form: `teacher`."
    )
    students: dict[str, StudentSpec] = Field(
        default_factory=dict,
        description="The models to ship, by name. Short form: `student`. Without any, the teachers are trained and "
        "compared.",
    )
    distill: DistillSpec = Field(default_factory=DistillSpec, description="What students learn besides the targets.")
    train: TrainSpec = Field(
        default_factory=TrainSpec, description="How every model is trained, unless it says otherwise."
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], BeforeValidator(_seeds)] = Field(
        default=[0, 1, 2], min_length=1, description="One student and one baseline are trained for each."
    )
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec, description="How finished models are measured.")
    compute: ComputeSpec = Field(default_factory=ComputeSpec, description="Device, precision and trackers.")

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read, complete and check a recipe file; nothing that it names is loaded.

        Args:
            path: a YAML file.
            overrides: ``key.path=value`` words that replace what the file says.

        Raises:
            InputError: naming file, line, key and the nearest valid one.
        """
        return cls.from_document(apply_overrides(read_document(path), overrides))

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], source: str = "recipe") -> Recipe:
        """A recipe from plain Python values; the same checks as `load`."""
        return cls.from_document(Document(json.loads(json.dumps(data)), source))

    @classmethod
    def from_document(cls, document: Document) -> Recipe:
        """Complete short forms, validate, and check components against the catalog and keys against each other."""
        data, aliases = _long_forms(document)
        try:
            recipe = cls.model_validate(data)
        except ValidationError as error:
            raise explain(problems_of(error, (), cls), document, aliases) from None
        problems = list(component_problems(recipe)) or list(contradictions(recipe))
        if problems:
            raise explain(problems, document, aliases)
        return recipe.resolved()

    def model_specs(self) -> dict[str, ModelSpec]:
        """The teachers and the students by name, but for teachers of earlier runs, which describe no model."""
        described = {name: teacher for name, teacher in self.teachers.items() if teacher.run is None}
        return {**described, **self.students}

    def columns_of(self, spec: ModelSpec) -> tuple[str, ...]:
        """The columns that a model reads, sorted; empty for a teacher that is taken from a run."""
        if spec.custom is None:
            return tuple(sorted(spec.encoders))
        if not spec.custom.inputs:
            return tuple(self.data.columns)
        known = self.data.columns
        return tuple(
            sorted({name if name in known else name.rpartition(".")[0] for name in spec.custom.inputs.values()})
        )

    def teachers_of(self, student: str) -> tuple[str, ...]:
        """The names of the models that a student learns from."""
        spec = self.students[student]
        if self.distill_for(spec).policy.name in ("mutual", "own_past"):
            return ()
        return tuple(spec.teacher or self.teachers)

    def train_for(self, spec: ModelSpec) -> TrainSpec:
        """`train` with the model's own differences."""
        return TrainSpec.model_validate(merge(self.train.model_dump(), spec.train))

    def distill_for(self, student: StudentSpec) -> DistillSpec:
        """The student's own objective, or the recipe's."""
        return student.distill or self.distill

    def resolved(self) -> Recipe:
        """The same recipe with every default of every component written out."""
        data = self.model_dump(mode="json", exclude_none=True)
        for path, kind, component in components(self):
            holder: Any = data
            for part in path[:-1]:
                holder = holder[part]
            options = component.options(kind).model_dump(mode="json", exclude_none=True)
            kept = {key: value for key, value in holder[path[-1]].items() if key not in (component.model_extra or {})}
            holder[path[-1]] = {**kept, **options}
        for name, column in self.data.columns.items():
            written = data["data"]["columns"][name]
            written.update(column.settings().model_dump(mode="json", exclude_none=True))
            augmentation = column.augmentation()
            if augmentation is not None:
                written["augment"] = augmentation.model_dump(mode="json", exclude_none=True)
        for name, task in self.tasks.items():
            data["tasks"][name].update(task.options().model_dump(mode="json", exclude_none=True))
        return type(self).model_validate(data)

    def to_yaml(self) -> str:
        """The recipe as YAML that `load` reads back to an equal one."""
        return dump_yaml(self.model_dump(mode="json", exclude_none=True))

    def digest(self) -> str:
        """Sha256 of everything but the name and the trackers: equal recipes give equal runs."""
        data = self.model_dump(mode="json", exclude_none=True)
        del data["name"]
        data["compute"].pop("track", None)
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _long_forms(document: Document) -> tuple[dict[str, Any], dict[KeyPath, KeyPath]]:
    """Long forms of `task` and `student`, and where their keys stand in the file."""
    data = dict(document.data)
    aliases: dict[KeyPath, KeyPath] = {}
    target = data.get("data", {}).get("target") if isinstance(data.get("data"), Mapping) else None
    for short, long in SHORT_FORMS.items():
        if short not in data:
            continue
        if long in data:
            raise InputError(
                f"{short!r} and {long!r} are two ways to say the same",
                where=document.where((short,)),
                fix="Keep one of them",
            )
        value = data.pop(short)
        name = short
        if short == "task":
            own = value.get("target") if isinstance(value, Mapping) else None
            name = str(own or target or "target")
        data[long] = {name: value}
        aliases[(long, name)] = (short,)
    return data, aliases


__all__ = ["Recipe", "merge"]
