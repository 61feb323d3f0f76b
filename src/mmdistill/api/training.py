"""The steps of `mmdistill.distill`: wrap, check, train the student, train its control, score."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from pydantic import ValidationError
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.api.batches import TASK, LoaderBatches
from mmdistill.api.result import DistillResult
from mmdistill.api.scores import Metric, Scorer, outputs_and_targets
from mmdistill.api.sides import as_model, left_as_it_was
from mmdistill.api.supervision import supervised_loss
from mmdistill.api.terms import WrittenTerms, read_terms
from mmdistill.distill.build import build_objective
from mmdistill.distill.objective import Objective
from mmdistill.distill.signals import LiveTeacher, Signals
from mmdistill.errors import InputError, nearest
from mmdistill.evaluation.verdict import verdict
from mmdistill.models.any_model import AnyModel
from mmdistill.models.custom.model import CustomModel
from mmdistill.recipe.schema import ComputeSpec, DistillSpec, StopSpec, TrainSpec
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import BatchSource, fit, total_steps
from mmdistill.training.modalities import ModalityTraining
from mmdistill.training.phase import student_phase
from mmdistill.training.progress import Progress, Silent, progress_for
from mmdistill.training.state import TrainResult


@dataclass(frozen=True)
class Plan:
    """What `mmdistill.distill` was asked for, but for models and loaders; see there."""

    losses: Sequence[Any]
    supervised: str | Callable[[Tensor, Tensor], Tensor] | None
    supervised_weight: float
    student_inputs: Mapping[str, str] | None
    teacher_inputs: Mapping[str, str] | None
    student_taps: Mapping[str, str] | None
    teacher_taps: Mapping[str, str] | None
    metric: Metric
    higher_is_better: bool
    baseline: bool
    seed: int
    device: str
    precision: str
    progress: bool
    train: Mapping[str, Any]


def carry_out(
    plan: Plan,
    student: nn.Module,
    teacher: nn.Module,
    loader: Iterable[Any],
    validation: Iterable[Any] | None,
    test: Iterable[Any] | None,
) -> DistillResult:
    """See `mmdistill.distill`."""
    terms, scorer = read_terms(plan.losses), Scorer(plan.metric, plan.higher_is_better)
    accelerator = make_accelerator(
        _settings(ComputeSpec, {"device": plan.device, "precision": plan.precision}, "compute")
    )
    source = _source(loader, plan.seed, accelerator)
    example = next(iter(source.batches(0)))
    _check_targets(plan, example)
    checked = {name: _source(rows, plan.seed, accelerator) for name, rows in _scored(validation, test)}
    train = _settings(TrainSpec, {"batch_size": len(example), **plan.train}, "train")
    control = copy.deepcopy(student) if plan.baseline else None
    with ExitStack() as stack:
        stack.enter_context(left_as_it_was(teacher))
        wrap = _Wrapping(plan, terms, example, accelerator.device, stack)
        taught, teaching = wrap("student", student), wrap("teacher", teacher)
        runs = _Trainings(plan, terms, train, source, checked.get("validation"), scorer, accelerator)
        result = runs.of_student(taught, teaching)
        models = {
            "student": taught,
            "baseline": None if control is None else wrap("student", control),
            "teacher": teaching,
        }
        held = None if models["baseline"] is None else runs.of_baseline(models["baseline"], result.steps)
        scores, gain = _compared(models, checked, scorer)
    return DistillResult(
        student=student.eval(),
        baseline=None if control is None else control.eval(),
        scores=scores,
        gain=gain,
        verdict=_verdict(gain, control is not None),
        history=result.history,
        baseline_history=[] if held is None else held.history,
        steps=result.steps,
        seconds=result.seconds,
    )


class _Wrapping:
    """Wraps the modules of a distillation, and takes its hooks off them at the end."""

    def __init__(
        self, plan: Plan, terms: WrittenTerms, example: TensorDict, device: torch.device, stack: ExitStack
    ) -> None:
        self._plan, self._terms, self._device, self._stack = plan, terms, device, stack
        self._example = {name: dict(arrays.items()) for name, arrays in example["features"].items()}

    def __call__(self, side: str, module: nn.Module) -> AnyModel:
        """The model of a side."""
        inputs, taps = getattr(self._plan, f"{side}_inputs"), getattr(self._plan, f"{side}_taps")
        model = as_model(module.to(self._device), inputs, taps or {}, self._terms.taps(side), self._example, side)
        if model is not module and isinstance(model, CustomModel):
            self._stack.callback(model.release)
        return model


@dataclass(frozen=True)
class _Trainings:
    """The trainings of a student and of its control: the same batches, settings and seed."""

    plan: Plan
    terms: WrittenTerms
    train: TrainSpec
    source: BatchSource
    validation: BatchSource | None
    scorer: Scorer
    accelerator: Accelerator

    def of_student(self, model: AnyModel, teacher: AnyModel) -> TrainResult:
        """Train with the teacher."""
        objective = self.objective(model, teacher)
        return self.fit("student", model, objective, LiveTeacher(teacher, objective.teacher_taps), self.train, None)

    def of_baseline(self, model: AnyModel, steps: int) -> TrainResult:
        """Train without it, as many steps as the student took."""
        train = self.train.model_copy(update={"stop": StopSpec()})
        objective = build_objective(self.supervised(), student_taps=model.taps, total_steps=self.steps)
        return self.fit("baseline", model, objective, None, train, steps)

    @property
    def steps(self) -> int:
        """Optimiser steps of a whole training."""
        return total_steps(len(self.source), self.train)

    def supervised(self) -> dict[str, nn.Module]:
        """The loss on the targets, by task."""
        return {TASK: supervised_loss(self.plan.supervised)}

    def objective(self, model: AnyModel, teacher: AnyModel) -> Objective:
        """What the student learns."""
        rows, targets = _numbered(self.terms, self.source)
        weight = 0.0 if self.plan.supervised is None else self.plan.supervised_weight
        return build_objective(
            self.supervised(),
            DistillSpec(losses=list(self.terms.specs), supervised=weight),
            student_taps=model.taps,
            teacher_taps=teacher.taps,
            student_columns=model.columns,
            total_steps=self.steps,
            steps_per_epoch=self.steps // self.train.epochs,
            rows=rows,
            targets=targets,
            modules=self.terms.modules,
            seed=self.plan.seed,
        )

    def fit(
        self,
        name: str,
        model: AnyModel,
        objective: Objective,
        signals: Signals | None,
        train: TrainSpec,
        steps: int | None,
    ) -> TrainResult:
        """Train a model in place."""
        phase = student_phase(
            name,
            model,
            objective,
            train,
            signals=signals,
            modalities=ModalityTraining(tuple(model.columns)),
            device=self.accelerator.device,
        )
        progress: Progress = progress_for() if self.plan.progress else Silent()
        return fit(
            phase,
            self.source,
            train,
            accelerator=self.accelerator,
            seed=self.plan.seed,
            validate=None if self.validation is None else lambda: self.score(model),
            higher_is_better=self.scorer.higher_is_better,
            max_steps=steps,
            progress=progress,
        )

    def score(self, model: AnyModel) -> float:
        """Of a model on the validation rows."""
        assert self.validation is not None
        return self.scorer.score(*outputs_and_targets(model, self.validation))


def _source(loader: Any, seed: int, accelerator: Accelerator) -> BatchSource:
    """A loader of the library as it is, any other one adapted."""
    if hasattr(loader, "batches"):
        source: BatchSource = loader
        return source
    return LoaderBatches(loader, seed, accelerator.device)


def _scored(validation: Iterable[Any] | None, test: Iterable[Any] | None) -> list[tuple[str, Iterable[Any]]]:
    return [(name, rows) for name, rows in (("validation", validation), ("test", test)) if rows is not None]


def _settings(kind: Any, values: Mapping[str, Any], where: str) -> Any:
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = first["type"] != "extra_forbidden"
        what = f"{first['msg']}: {first['input']!r}" if known else f"There is no setting {key!r}"
        raise InputError(
            what, where=f"{where}.{key}", fix="" if known else nearest(key, list(kind.model_fields))
        ) from error


def _check_targets(plan: Plan, example: TensorDict) -> None:
    there = TASK in example["target"].keys()  # noqa: SIM118 (a TensorDict refuses `in` on itself)
    if plan.supervised is not None and not there:
        raise InputError(
            "The loader gives no targets, so there is nothing for a supervised loss",
            where="supervised",
            fix="Set supervised=None and baseline=False, or give (inputs, target)",
        )
    if plan.supervised is None and plan.baseline:
        raise InputError(
            "A baseline learns from targets alone, and there is no supervised loss",
            where="baseline",
            fix="Set baseline=False, or give a supervised loss",
        )


def _numbered(terms: WrittenTerms, source: BatchSource) -> tuple[Tensor | None, dict[str, Tensor] | None]:
    """The rows of the loader and their targets, where a loss remembers rows."""
    from mmdistill import catalog

    losses = [
        terms.modules[index] if index in terms.modules else catalog.get("loss", spec.name).load()
        for index, spec in enumerate(terms.specs)
    ]
    if not any("row" in inspect.signature(loss.forward).parameters for loss in losses):
        return None, None
    if isinstance(source, LoaderBatches) and not source.numbers_rows():
        raise InputError(
            "A loss remembers every row, and batches do not say which rows they hold",
            where="loader",
            fix="Give mappings with a `row`: the number of each row in the dataset",
        )
    batches = list(source.batches(0))
    rows = torch.cat([batch["row"].cpu() for batch in batches])
    order = rows.argsort()
    named = all(TASK in batch["target"].keys() for batch in batches)  # noqa: SIM118
    targets = {TASK: torch.cat([batch["target"][TASK].cpu() for batch in batches])[order]} if named else None
    return rows[order], targets


def _compared(
    models: Mapping[str, AnyModel | None], checked: Mapping[str, BatchSource], scorer: Scorer
) -> tuple[dict[str, dict[str, float]], dict[str, Any] | None]:
    """Scores of every model on all rows that are scored, and the gain on the last of them: those of the test."""
    scores: dict[str, dict[str, float]] = {}
    gain = None
    for name, source in checked.items():
        found = {model: outputs_and_targets(each, source) for model, each in models.items() if each is not None}
        scores[name] = {model: scorer.score(*pair) for model, pair in found.items()}
        if "baseline" in found:
            targets = found["student"][1]
            gain = {**scorer.gain(found["student"][0], found["baseline"][0], targets), "rows_of": name}
    return scores, gain


def _verdict(gain: Mapping[str, Any] | None, has_baseline: bool) -> str:
    if gain is None:
        missing = "rows to score" if has_baseline else "a baseline"
        return f"Whether distillation helped cannot be told without {missing}."
    said = verdict(gain)
    if gain["rows_of"] == "test":
        return said
    said = said.replace(" test row", " validation row")
    return f"{said} These rows also chose the weights: give `test` for a fair figure."
