"""What tools/make_results.py writes of a comparison: kinds of losses by the catalog, nothing outside markers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mmdistill.report.compare import compare

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "make_results.py"
LOSSES = {
    "kd": "logits of every row",
    "dkd": "logits of the rows with a target",
    "fitnets": "features",
    "vid": "features",
    "sp": "relations of features",
    "mad": "relations of features",
    "at": "maps",
    "ft": "maps",
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_results", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run with a student for each loss; that of kd helped, the others did not."""

    def model(role: str, score: float) -> dict[str, Any]:
        return {
            "role": role,
            "runs": [
                {"seed": 0, "metrics": {"accuracy": score}, "validation": {"accuracy": score}, "train_seconds": 2}
            ],
        }

    def gain(name: str) -> dict[str, Any]:
        interval, p = ([0.1, 0.2], 0.001) if name == "kd" else ([-0.1, 0.1], 0.5)
        return {"student": name, "baseline": "baseline", "metric": "accuracy", "ci95": interval, "p_value": p}

    scores = {name: 0.9 - 0.1 * place for place, name in enumerate(LOSSES)}
    results = {
        "format": 1,
        "name": "losses",
        "primary_metric": "accuracy",
        "higher_is_better": True,
        "models": {
            "teacher": model("teacher", 0.95),
            "baseline": model("baseline", 0.5),
            **{name: model("student", score) for name, score in scores.items()},
        },
        "gains": [gain(name) for name in LOSSES],
        "seconds": {"preparation": 1, "teacher": 30, "kd": 60, "evaluation": 9},
        "version": "0.1.0",
    }
    machine = {"cpu_count": 2, "processor": "A processor", "platform": "Linux-6", "threads": 1}
    environment = {"versions": {"torch": "2.15.0"}, **machine}
    students = {name: {"distill": {"supervised": 1.0, "losses": [{"name": name}]}} for name in LOSSES}
    for name, content in (("results", results), ("environment", environment)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    for name, norm in (("kd", 2.0), ("at", 0.01)):
        history = tmp_path / name / "seed-0" / "history.csv"
        history.parent.mkdir(parents=True)
        lines = [
            f"epoch,{name},supervised/gradient_norm,{name}/gradient_norm",
            "1,3,1,",
            f"2,3,2,{norm}",
            f"3,3,1,{norm}",
        ]
        history.write_text("\n".join([*lines, f"4,3,4,{norm}"]), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(json.dumps({"students": students}), encoding="utf-8")
    return tmp_path


def test_kinds_are_those_of_the_catalog(script: ModuleType, run: Path) -> None:
    assert {student.name: script.kind_of(student) for student in compare([run]).students} == LOSSES


def test_a_line_for_every_kind_the_best_median_first(script: ModuleType, run: Path) -> None:
    lines = script.kind_rows(compare([run]))
    assert [line[0] for line in lines] == list(dict.fromkeys(LOSSES.values()))
    assert lines[0] == ["logits of every row", "1", "1", "0", "0", "0.900", "0.900"]
    assert lines[2] == ["features", "2", "0", "0", "2", "0.700", "0.650"]


def test_a_loss_that_hardly_pulls_is_named_with_its_share_of_the_gradient(script: ModuleType, run: Path) -> None:
    ratios = {student.name: script.gradient_ratio(student) for student in compare([run]).students}
    assert ratios["kd"] == 1.0
    assert ratios["dkd"] is None
    assert "below 0.1: `at` 0.005." in script.gradients(compare([run]))


def test_the_machine_is_told_with_the_time_that_it_took(script: ModuleType, run: Path) -> None:
    told = script.machine(compare([run]))
    assert "2 cores (A processor, Linux), of which the run used 1: 1 min 40 s" in told
    assert "30.0 s of them for the teacher" in told


def test_only_what_stands_between_the_markers_is_replaced(script: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x:begin -->\nold\n<!-- x:end -->\nafter\n", encoding="utf-8")
    script.put(page, "x", "new")
    assert page.read_text(encoding="utf-8") == "before\n<!-- x:begin -->\nnew\n<!-- x:end -->\nafter\n"
