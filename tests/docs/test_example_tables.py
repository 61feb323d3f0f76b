"""What tools/example_tables.py writes into the README of an example: scores by subset, gains, operating points."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mmdistill.report.reading import parse_results

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "example_tables.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("example_tables", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def model(role: str, *seeds: dict[str, float], **more: Any) -> dict[str, Any]:
    runs = [
        {
            "seed": seed,
            "metrics": {"accuracy": max(scores.values())},
            "modalities": {subset: {"accuracy": value} for subset, value in scores.items()},
            "train_seconds": 2.0,
            **more,
        }
        for seed, scores in enumerate(seeds)
    ]
    return {"role": role, "runs": runs, "parameters": 1234}


def results() -> dict[str, Any]:
    return {
        "format": 1,
        "name": "pairs",
        "primary_metric": "accuracy",
        "higher_is_better": True,
        "metrics": {"accuracy": {"higher_is_better": True}},
        "models": {
            "teacher": model("teacher", {"a+b": 0.9, "a": 0.5, "b": 0.8}, {"a+b": 0.8, "a": 0.7, "b": 0.6}),
            "student": model("student", {"a": 0.6}, {"a": 0.7}),
            "baseline": model("baseline", {"a": 0.55}, {"a": 0.55}),
        },
        "gains": [
            {"student": "student", "baseline": "baseline", "metric": "accuracy", "mean": 0.1, "ci95": [0.05, 0.15]}
        ],
        "data": {"splits": {"test": {"rows": 40}}},
        "seconds": {"teacher": 65.0},
    }


def test_a_line_for_every_subset_and_the_worst_of_every_seed(script: ModuleType) -> None:
    written = script.scores(parse_results(results()))
    assert "| Accuracy, given | teacher | student | baseline |" in written
    assert "| a + b | 0.850 ± 0.071 |  |  |" in written
    assert "| a | 0.600 ± 0.141 | 0.650 ± 0.071 | 0.550 ± 0.000 |" in written
    assert "| *worst of a model's own* | 0.550 ± 0.071 |  |  |" in written  # 0.5 and 0.6, of different subsets
    assert "| parameters | 1,234 | 1,234 | 1,234 |" in written
    assert "| student | baseline | +0.100 | +0.050 to +0.150 |" in written
    assert "over 2 seeds, 40 test rows" in written
    assert "1 min 05 s in all" in written


def test_rates_at_the_operating_point_are_tables_of_their_own(script: ModuleType) -> None:
    content = results()
    content["metrics"]["sensitivity"] = {"higher_is_better": True}
    for run in content["models"]["student"]["runs"]:
        run["modalities"]["a"]["sensitivity"] = 0.75
        run["operating_points"] = {"ill": {"positive": "yes", "threshold": 0.4, "test": {"sensitivity": 0.75}}}
    written = script.scores(parse_results(content))
    assert "| Sensitivity, given |" in written
    assert "| a |  | 0.750 ± 0.000 |  |" in written
    assert "never on test rows" in written


def test_only_what_stands_between_the_markers_changes(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = tmp_path / "examples/pairs/README.md"
    readme.parent.mkdir(parents=True)
    kept = "<!-- scores-late:begin -->\nold\n<!-- scores-late:end -->\nlast\n"
    readme.write_text(f"first\n<!-- scores:begin -->\nold\n<!-- scores:end -->\n{kept}", encoding="utf-8")
    run = tmp_path / "runs/pairs"
    run.mkdir(parents=True)
    (run / "results.json").write_text(json.dumps(results()), encoding="utf-8")
    script.write(readme, tmp_path / "runs")
    written = readme.read_text(encoding="utf-8")
    assert written.startswith("first\n<!-- scores:begin -->\n| Accuracy")
    assert written.endswith(f"<!-- scores:end -->\n{kept}")
    assert "left out, not run: pairs-late" in capsys.readouterr().err
    script.write(readme, tmp_path / "runs")
    assert readme.read_text(encoding="utf-8") == written


def test_every_marker_belongs_to_a_recipe(script: ModuleType) -> None:
    found = 0
    for readme in (ROOT / "examples").glob("*/README.md"):
        for match in script.MARKED.finditer(readme.read_text(encoding="utf-8")):
            assert (readme.parent / f"recipe.{match[3]}.yaml" if match[3] else readme.parent / "recipe.yaml").exists()
            found += 1
    assert found >= 4
