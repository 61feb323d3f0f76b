"""Run folders that look like finished runs, made from formulas: nothing is trained."""

from __future__ import annotations

import copy
import csv
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmdistill.evaluation.verdict import verdict

CLASSES = ["zero", "one", "two", "three", "four", "five"]
METRICS = {
    "accuracy": {"higher_is_better": True, "label": "Accuracy"},
    "macro_f1": {"higher_is_better": True, "label": "Macro F1"},
    "log_loss": {"higher_is_better": False, "label": "Log-loss"},
}
RECIPE = """\
# resolved by mmdistill
name: spoken-and-written-digits
data:
  table: digits
  target: digit
  columns:
    image: {type: image, size: 28}
    sound: {type: audio, sample_rate: 8000, features: log_mel}
task: classification
teacher:
  encoders: {image: resnet, sound: cnn}
  fusion: cross_attention
student:
  encoders: {sound: tiny_cnn}
distill:
  losses:
    - {name: kd, weight: 0.9, temperature: 4.0}
  supervised: 0.1
seeds: [0, 1, 2]
"""


@dataclass(frozen=True)
class Sketch:
    """What a model of the fixture is like."""

    role: str
    accuracy: float
    columns: list[str]
    parameters: int
    label: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)


@dataclass
class FakeRun:
    """Writes a run folder. Change `models`, `gains` or `extra` for a variant."""

    models: dict[str, Sketch] = field(
        default_factory=lambda: {
            "teacher": Sketch("teacher", 0.962, ["image", "sound"], 1_243_786, "Teacher (image + sound)", seeds=(0,)),
            "student": Sketch("student", 0.871, ["sound"], 48_210, "Student (sound)"),
            "baseline": Sketch("baseline", 0.774, ["sound"], 48_210, "Baseline (sound)"),
        }
    )
    pairs: list[tuple[str, str]] = field(default_factory=lambda: [("student", "baseline")])
    name: str = "spoken-and-written-digits"
    primary: str = "accuracy"
    task: str = "classification"
    classes: list[str] = field(default_factory=lambda: list(CLASSES))
    extra: dict[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    recipe: str = RECIPE
    kd_gradient: float = 0.5

    def results(self) -> dict[str, Any]:
        """The content of results.json."""
        metrics = (
            copy.deepcopy(METRICS)
            if self.primary in METRICS
            else {self.primary: {"higher_is_better": False, "label": "MAE"}}
        )
        models = {name: _model(name, sketch, self) for name, sketch in self.models.items()}
        gains = [_gain(models, student, baseline, self.primary, metrics) for student, baseline in self.pairs]
        results = {
            "format": 1,
            "name": self.name,
            "task": self.task,
            "primary_metric": self.primary,
            "higher_is_better": metrics[self.primary]["higher_is_better"],
            "metrics": metrics,
            "models": models,
            "verdict": _verdict(gains),
            "gain": gains[0] if gains else None,
            "gains": gains,
            "majority": {"accuracy": 0.171} if self.primary == "accuracy" else {},
            "data": _data(self.classes),
            "created": "2025-03-04T10:12:00+00:00",
            "version": "0.1.0",
            "seconds": {"preparation": 4.2, "teacher": 41.7, "students": 128.4, "evaluation": 9.9},
        }
        if "teacher" in models and "student" in models:
            mean = {name: np.mean([run["metrics"][self.primary] for run in models[name]["runs"]]) for name in models}
            results["retained"] = float(mean["student"] / mean["teacher"]) if self.primary == "accuracy" else None
            results["compression"] = models["teacher"]["parameters"] / models["student"]["parameters"]
        results |= self.extra
        return {key: value for key, value in results.items() if key not in self.without}

    def write(self, folder: Path) -> Path:
        """Write the run folder and give its path."""
        folder.mkdir(parents=True, exist_ok=True)
        results = self.results()
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
        (folder / "recipe.yaml").write_text(self.recipe, encoding="utf-8")
        environment = {
            "versions": {"mmdistill": "0.1.0", "torch": "2.15.0"},
            "device": "cpu",
            "cpu": "Xeon",
            "threads": 2,
        }
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
        (folder / "data.json").write_text(json.dumps({"fingerprint": "9f2c51aa04be77d1"}), encoding="utf-8")
        for name, sketch in self.models.items():
            for seed in sketch.seeds:
                _history(folder / name / f"seed-{seed}" / "history.csv", sketch, seed, self)
        return folder


def _noise(name: str, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])


def _model(name: str, sketch: Sketch, run: FakeRun) -> dict[str, Any]:
    scale = sketch.parameters / 1e6
    return {
        "role": sketch.role,
        "label": sketch.label,
        "columns": sketch.columns,
        "parameters": sketch.parameters,
        "megabytes": sketch.parameters * 4 / 1e6,
        "multiply_adds": sketch.parameters * 61.7,
        "peak_memory_megabytes": 21.5 + 40 * scale,
        "latency_ms": {"batch_1": 0.41 + 3.1 * scale, "batch_64": 3.7 + 95 * scale},
        "selection": "best validation",
        "runs": [_seed(name, sketch, seed, run) for seed in sketch.seeds],
    }


def _seed(name: str, sketch: Sketch, seed: int, run: FakeRun) -> dict[str, Any]:
    generator = _noise(name, seed)
    accuracy = float(np.clip(sketch.accuracy + generator.normal(0, 0.008), 0, 1))
    metrics = {"accuracy": accuracy, "macro_f1": accuracy - 0.006, "log_loss": -math.log(accuracy) * 1.6}
    if run.primary not in metrics:
        metrics = {run.primary: 1.3 - accuracy}
    confusion = _confusion(generator, accuracy, len(run.classes))
    entry: dict[str, Any] = {
        "seed": seed,
        "train_seconds": 9.4 + 30 * sketch.parameters / 1e6 + seed / 10,
        "epochs": 20,
        "steps": 680,
        "best_epoch": 17 - seed,
        "metrics": metrics,
        "validation": {metric: value * 0.99 for metric, value in metrics.items()},
        "modalities": _subsets(sketch.columns, metrics, generator),
    }
    if run.primary == "accuracy":
        entry["details"] = {
            "classes": run.classes,
            "confusion": confusion,
            "per_class": _per_class(confusion, run.classes),
        }
        entry["calibration"] = _calibration(generator, sketch.role)
    if sketch.role == "student":
        entry["agreement"] = {
            "rows": 497,
            "top1": accuracy * 0.95,
            "kl": 0.21 + 0.01 * seed,
            "top1_teacher_right": accuracy,
            "top1_teacher_wrong": None,
        }
    return entry


def _subsets(columns: list[str], metrics: dict[str, float], generator: np.random.Generator) -> dict[str, Any]:
    subsets = {"+".join(columns): metrics}
    if len(columns) > 1:
        for index, column in enumerate(columns):
            worse = 0.08 + 0.16 * index + generator.normal(0, 0.01)
            subsets[column] = {metric: value * (1 - worse) for metric, value in metrics.items()}
    return subsets


def _confusion(generator: np.random.Generator, accuracy: float, classes: int) -> list[list[int]]:
    rows = []
    for index in range(classes):
        own = np.clip(accuracy + generator.normal(0, 0.03), 0, 1)
        shares = generator.dirichlet(np.full(classes - 1, 0.5)) * (1 - own)
        rows.append(generator.multinomial(60, np.insert(shares, index, own)).tolist())
    return rows


def _per_class(confusion: list[list[int]], classes: list[str]) -> list[dict[str, Any]]:
    matrix = np.array(confusion, dtype=float)
    recall = matrix.diagonal() / matrix.sum(1)
    precision = matrix.diagonal() / np.maximum(matrix.sum(0), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return [
        {"class": name, "precision": precision[i], "recall": recall[i], "f1": f1[i], "support": int(matrix[i].sum())}
        for i, name in enumerate(classes)
    ]


def _calibration(generator: np.random.Generator, role: str) -> dict[str, Any]:
    bend = {"teacher": 0.03, "student": 0.05}.get(role, 0.11)
    bins: list[dict[str, Any]] = [{"confidence": None, "accuracy": None, "count": 0}]
    for confidence in np.linspace(0.15, 0.95, 9):
        accuracy = float(np.clip(confidence - bend + generator.normal(0, 0.02), 0, 1))
        bins.append({"confidence": float(confidence), "accuracy": accuracy, "count": int(400 * confidence**3) + 2})
    return {"bins": bins, "expected_calibration_error": bend + 0.003, "temperature": 1 + 4 * bend}


def _gain(models: dict[str, Any], student: str, baseline: str, metric: str, metrics: dict[str, Any]) -> dict[str, Any]:
    sign = 1 if metrics[metric]["higher_is_better"] else -1
    pairs = list(zip(models[student]["runs"], models[baseline]["runs"], strict=True))
    gains = [sign * (ours["metrics"][metric] - theirs["metrics"][metric]) for ours, theirs in pairs]
    mean = float(np.mean(gains))
    gain = {
        "student": student,
        "baseline": baseline,
        "metric": metric,
        "mean": mean,
        "ci95": [mean - 0.021, mean + 0.019],
        "p_value": 0.0005 if abs(mean) > 0.02 else 0.41,
        "seeds": len(gains),
        "rows": 497,
        "per_seed": gains,
    }
    of_control = models[baseline]["role"] == "control"
    sentence = verdict(gain, "The teacher's other columns" if of_control else "Distillation")
    return {**gain, "compared_with": "control" if of_control else "baseline", "verdict": sentence}


def _verdict(gains: list[dict[str, Any]]) -> str:
    return gains[0]["verdict"] if gains else "No baseline was trained beside the student, so no gain can be claimed."


def _data(classes: list[str]) -> dict[str, Any]:
    return {
        "rows": 2600,
        "splits": {
            "train": {"rows": 1800, "labelled": 300},
            "validation": {"rows": 300, "labelled": 300},
            "test": {"rows": 497, "labelled": 497},
        },
        "missing": {
            "image": {"train": 0, "validation": 0, "test": 0},
            "sound": {"train": 41, "validation": 7, "test": 12},
        },
        "classes": [
            {"class": name, "train": 60 - 5 * i % 23, "validation": 50 - i, "test": 80 - 2 * i}
            for i, name in enumerate(classes)
        ],
        "skipped": 3,
        "skipped_rows": [
            {"row": 17, "where": "digits.csv, line 19", "column": "sound", "reason": "The file is cut off"}
        ],
        "dropped": 4,
    }


def _history(path: Path, sketch: Sketch, seed: int, run: FakeRun) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = _noise(sketch.role, seed + 100)
    names = ["supervised", "kd"] if sketch.role == "student" else ["supervised"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        head, tail = ["epoch", "step", "learning_rate"], ["validation_score", "seconds", "samples_per_second"]
        norms = [f"{name}/gradient_norm" for name in names]
        writer.writerow([*head, *names, "total", "gradient_norm", *norms, *tail])
        for half in range(1, 41):
            epoch = half / 2
            supervised = 1.8 * math.exp(-epoch / 6) + 0.1 + generator.normal(0, 0.01)
            terms = [supervised, *([supervised * 0.6] if sketch.role == "student" else [])]
            accuracy = sketch.accuracy * (1 - math.exp(-epoch / 4)) + generator.normal(0, 0.006)
            score = accuracy if run.primary == "accuracy" else 1.3 - accuracy
            rate = 0.001 * (1 + math.cos(math.pi * epoch / 20))
            seen = score if half % 2 == 0 else ""
            pulled = [1.0, run.kd_gradient][: len(names)] if half % 4 == 1 else [""] * len(names)
            writer.writerow([epoch, 17 * half, rate, *terms, sum(terms), 1.1, *pulled, seen, 0.4 * half, 4200.0])


def helped() -> FakeRun:
    """Teacher, one student that gains, its baseline."""
    return FakeRun()


def hurt() -> FakeRun:
    """The student is worse than its baseline."""
    run = FakeRun()
    run.models["student"] = Sketch("student", 0.731, ["sound"], 48_210, "Student (sound)")
    return run


def unclear() -> FakeRun:
    """The interval of the gain includes zero."""
    run = FakeRun()
    run.models["student"] = Sketch("student", 0.772, ["sound"], 48_210, "Student (sound)")
    return run


def several_students() -> FakeRun:
    """Two students with their baselines and a control teacher with its own student."""
    run = FakeRun()
    run.models |= {
        "control-teacher": Sketch("control", 0.851, ["sound"], 612_300, "Control teacher (sound)", seeds=(0,)),
        "control-student": Sketch("control", 0.829, ["sound"], 48_210, "Student of the control teacher"),
        "pair": Sketch("student", 0.932, ["image", "sound"], 96_120, "Small pair (image + sound)"),
        "pair-baseline": Sketch("baseline", 0.911, ["image", "sound"], 96_120, "Baseline of the small pair"),
    }
    run.pairs = [("student", "baseline"), ("student", "control-student"), ("pair", "pair-baseline")]
    return run


def many_students() -> FakeRun:
    """Twenty students of one size, as in a comparison of losses; the last is the best, the first the smallest."""
    run = FakeRun()
    del run.models["student"]
    for number in range(20):
        size = 48_210 if number else 40_000
        run.models[f"s{number}"] = Sketch("student", 0.75 + number / 200, ["sound"], size, f"Loss {number} (sound)")
    run.pairs = [(f"s{number}", "baseline") for number in range(20)]
    return run


def one_seed() -> FakeRun:
    """A single seed, and an interval that could not be computed."""
    run = FakeRun()
    run.models = {
        name: Sketch(sketch.role, sketch.accuracy, sketch.columns, sketch.parameters, sketch.label, (7,))
        for name, sketch in run.models.items()
    }
    results = run.results()
    run.extra = {"gain": results["gain"] | {"ci95": None, "p_value": None}}
    run.extra["gains"] = [run.extra["gain"]]
    run.extra["verdict"] = "Whether distillation helped cannot be told: one seed, and its interval is not known."
    return run


def no_baseline() -> FakeRun:
    """A student without a baseline."""
    run = FakeRun()
    del run.models["baseline"]
    run.pairs = []
    return run


def regression() -> FakeRun:
    """A task whose metric is better when lower, without classes."""
    return FakeRun(primary="mae", task="regression", extra={"retained": None})


VARIANTS = {
    maker.__name__: maker for maker in (helped, hurt, unclear, several_students, one_seed, no_baseline, regression)
}
