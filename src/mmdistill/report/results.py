"""`results.json` as typed values: what a finished run says about its models.

Keys that this version does not know are kept and ignored, and every optional part may be missing, so that a page can be
made from the results of older, newer and partial runs. A number that is not finite counts as missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _finite_or_none(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return value if math.isfinite(value) else None


def _numbers_only(value: Any) -> Any:
    """A mapping without the entries that are not finite numbers."""
    if not isinstance(value, dict):
        return value
    return {
        key: number
        for key, number in value.items()
        if isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    }


Number = Annotated[float | None, BeforeValidator(_finite_or_none)]
Numbers = Annotated[dict[str, float], BeforeValidator(_numbers_only)]


class Part(BaseModel):
    """Base of the parts: unknown keys are kept, values do not change."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ClassScore(Part):
    """One line of a per-class table. Scores are fractions; `support` counts test rows."""

    name: str | int | float | bool = Field(alias="class")
    precision: Number = None
    recall: Number = None
    f1: Number = None
    support: Number = None


class Details(Part):
    """What the task tells about one seed beyond its metrics. `confusion[i][j]`: rows of class i predicted as j."""

    per_class: list[ClassScore] = []
    confusion: list[list[float]] = []
    classes: list[str | int | float | bool] = []


class CalibrationBin(Part):
    """Mean confidence and accuracy of the `count` rows of one bin; missing in an empty bin."""

    confidence: Number = None
    accuracy: Number = None
    count: int = 0


class Calibration(Part):
    """How far confidence is from accuracy. `temperature` is the one fitted on the validation rows."""

    bins: list[CalibrationBin] = []
    expected_calibration_error: Number = None
    temperature: Number = None


class OperatingPoint(Part):
    """The threshold of one seed's model, chosen on validation rows, and what it gives there and on the test rows.

    `test_ci95`: metric → 95 % interval over draws of the test rows.
    """

    positive: str | int | float | bool
    threshold: Number = None
    validation: Numbers = {}
    test: Numbers = {}
    test_ci95: dict[str, tuple[Number, Number] | None] = {}


class AttentionTable(Part):
    """The mean share of attention that goes from each query label to each key label; missing where there is none."""

    queries: list[str]
    keys: list[str]
    shares: list[list[Number]]


class AttentionShares(Part):
    """What a fusion attends to: in each attention by its module path, and their mean."""

    layers: dict[str, AttentionTable] = {}
    mean: AttentionTable


class Subspaces(Part):
    """Shared and private vectors of some rows in a plane, by column, and how alike they are; see the run's record."""

    columns: list[str]
    rows: int = 0
    shown: int = 0
    explained: tuple[float, float] = (0.0, 0.0)
    shared: dict[str, list[tuple[float, float]]] = {}
    private: dict[str, list[tuple[float, float]]] = {}
    cosine: dict[str, Number] = {}


class Run(Part):
    """One seed of one model, scored on the test rows."""

    seed: int
    metrics: Numbers
    train_seconds: Number = None
    epochs: Number = None
    steps: Number = None
    best_epoch: Number = None
    validation: Numbers = {}
    modalities: dict[str, Numbers] = {}
    drops: dict[str, Numbers] = {}
    never_seen: list[str] = []
    details: Details | None = None
    calibration: Calibration | None = None
    agreement: Numbers = {}
    attention: AttentionShares | None = None
    subspaces: Subspaces | None = None
    operating_points: dict[str, OperatingPoint] = {}


class Model(Part):
    """One model: its cost, and a run for every seed."""

    role: str
    runs: Annotated[list[Run], Field(min_length=1)]
    label: str = ""
    columns: list[str] = []
    parameters: Number = None
    megabytes: Number = None
    multiply_adds: Number = None
    peak_memory_megabytes: Number = None
    latency_ms: Numbers = {}
    selection: str = ""

    def values(self, metric: str) -> list[float]:
        """The metric of every seed that has it."""
        return [run.metrics[metric] for run in self.runs if metric in run.metrics]


class Gain(Part):
    """The paired gain of a student over its baseline, positive when better. `seeds`: how many pairs, or which."""

    student: str
    baseline: str
    metric: str
    mean: Number = None
    ci95: tuple[Number, Number] | None = None
    p_value: Number = None
    seeds: int | list[int] = 0
    resamples: int | None = None
    verdict: str = ""
    compared_with: str = "baseline"

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval when both of its ends are known."""
        if self.ci95 is None or self.ci95[0] is None or self.ci95[1] is None:
            return None
        return self.ci95[0], self.ci95[1]

    @property
    def pairs(self) -> int:
        """How many seeds were paired."""
        return self.seeds if isinstance(self.seeds, int) else len(self.seeds)


class Metric(Part):
    """The direction of a metric and how it is called."""

    higher_is_better: bool
    label: str = ""


class SplitSize(Part):
    """Rows of one split, and how many of them have a target."""

    rows: int
    labelled: int | None = None


class DataSummary(Part):
    """The rows behind a run. `missing[column][split]` counts absent cells; `skipped` rows could not be read.

    `identity` holds digests: of the `table`, and of the row numbers that are `held_out` for validation and test.
    """

    rows: int | None = None
    splits: dict[str, SplitSize] = {}
    missing: dict[str, Numbers] = {}
    classes: list[dict[str, Any]] = []
    skipped: int = 0
    skipped_rows: list[dict[str, Any]] = []
    dropped: int = 0
    identity: dict[str, str] = {}


class Results(Part):
    """Everything in `results.json`."""

    format: int
    name: str
    primary_metric: str
    higher_is_better: bool
    models: Annotated[dict[str, Model], Field(min_length=1)]
    task: str = ""
    metrics: dict[str, Metric] = {}
    verdict: str = ""
    gain: Gain | None = None
    gains: list[Gain] = []
    retained: Number = None
    compression: Number = None
    majority: Numbers = {}
    data: DataSummary | None = None
    seconds: Numbers = {}
    created: str = ""
    version: str = ""

    def label(self, model: str) -> str:
        """The human name of a model, or its own name, with a capital."""
        return _capital(self.models[model].label or model)

    def metric_label(self, metric: str) -> str:
        """The human name of a metric, with a capital and with short names as they are usually written."""
        known = self.metrics.get(metric)
        label = (known.label if known else "") or metric.replace("_", " ")
        return _capital(" ".join(_SHORT_NAMES.get(word, word) for word in label.replace("/", ": ").split()))

    def higher(self, metric: str) -> bool | None:
        """Whether a metric is better when higher; None when the run does not say."""
        if metric in self.metrics:
            return self.metrics[metric].higher_is_better
        return self.higher_is_better if metric == self.primary_metric else None

    def with_role(self, *roles: str) -> list[str]:
        """Names of the models that have one of the roles."""
        return [name for name, model in self.models.items() if model.role in roles]

    @property
    def teacher(self) -> str | None:
        """The model that students are measured against: `teacher`, or the first of that role."""
        return _preferred("teacher", self.with_role("teacher"))

    @property
    def main_gain(self) -> Gain | None:
        """The gain that the verdict is about: over a baseline, never over a control."""
        return self.gain or next((gain for gain in self.gains if gain.compared_with != "control"), None)

    @property
    def all_gains(self) -> list[Gain]:
        """The gain of every student that has a baseline."""
        return self.gains or ([self.gain] if self.gain else [])

    @property
    def student(self) -> str | None:
        """The student that the verdict is about."""
        students = self.with_role("student")
        if self.main_gain is not None and self.main_gain.student in self.models:
            return self.main_gain.student
        return _preferred("student", students)

    @property
    def baseline(self) -> str | None:
        """The baseline of that student."""
        if self.main_gain is not None and self.main_gain.baseline in self.models:
            return self.main_gain.baseline
        return _preferred("baseline", self.with_role("baseline"))

    @property
    def ordered(self) -> list[str]:
        """Names of the models in reading order: teachers, every student followed by its baseline, the rest."""
        baselines = {gain.student: gain.baseline for gain in reversed(self.all_gains)}
        order: list[str] = self.with_role("teacher")
        for student in self.with_role("student"):
            order += [student, *([baselines[student]] if baselines.get(student) in self.models else [])]
        order += self.with_role("baseline")
        return _unique([*order, *self.models])

    @property
    def metric_names(self) -> list[str]:
        """Every metric that some run has, the primary one first."""
        found = (metric for model in self.models.values() for run in model.runs for metric in run.metrics)
        return _unique([self.primary_metric, *self.metrics, *found])


_SHORT_NAMES = {
    name.lower(): name for name in ("F1", "AUROC", "MAE", "RMSE", "mAP", "WER", "CER", "R@1", "R@5", "R@10")
}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _preferred(name: str, names: list[str]) -> str | None:
    if name in names:
        return name
    return names[0] if names else None


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
