"""A run with an operating point: the threshold of every model, its scores, its predictions and its pages."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import mmdistill
from mmdistill import Recipe
from mmdistill.errors import InputError
from mmdistill.evaluation.predictions import read_predictions
from mmdistill.run.apply import evaluate_run, predict_table
from mmdistill.run.folder import RunFolder
from mmdistill.tasks.decode.classification import above_threshold

POINT = {"type": "classification", "operating_point": {"sensitivity": 0.9}, "positive": "cat"}


def two_animals(path: Path) -> None:
    """Leave the fish out of the table."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["animal"] != "fish"]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_every_model_has_a_threshold_of_its_own(data: dict[str, Any], tmp_path: Path) -> None:
    table = Path(data["data"]["table"])
    two_animals(table)
    folder = mmdistill.run(Recipe.from_mapping({**data, "task": POINT}), root=tmp_path / "runs").folder
    results = json.loads((folder / "results.json").read_text())
    for name, model in results["models"].items():
        for run in model["runs"]:
            home = folder / name / f"seed-{run['seed']}"
            (card,) = json.loads((home / "model.json").read_text())["card"]["tasks"].values()
            point = run["operating_points"]["animal"]
            assert point["validation"]["sensitivity"] >= 0.9
            assert card["state"]["operating_point"] == {
                key: point[key] for key in ("positive", "threshold", "validation")
            }
            assert run["validation"]["sensitivity"] == point["validation"]["sensitivity"]
            assert point["test"]["sensitivity"] == run["metrics"]["sensitivity"]
            low, high = point["test_ci95"]["sensitivity"]
            assert low <= point["test"]["sensitivity"] <= high
            assert all("specificity" in scores for scores in run["modalities"].values())
            kept = read_predictions(home / "predictions.parquet")
            logits = kept.outputs["+".join(model["columns"])]["logits"]
            cat = kept.target == kept.state["classes"].index("cat")
            assert above_threshold(logits, kept.state)[cat].mean() == pytest.approx(point["test"]["sensitivity"])
    assert "At the operating point" in (folder / "report.html").read_text(encoding="utf-8")
    assert "never on test rows" in (folder / "README.md").read_text(encoding="utf-8")

    again = evaluate_run(RunFolder(folder))["models"]["student"]["runs"][0]["metrics"]
    assert again["sensitivity"] == pytest.approx(results["models"]["student"]["runs"][0]["metrics"]["sensitivity"])
    predict_table(RunFolder(folder), str(table), tmp_path / "predicted.csv", "student", 0)
    threshold = results["models"]["student"]["runs"][0]["operating_points"]["animal"]["threshold"]
    with (tmp_path / "predicted.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            assert (row["prediction"] == "cat") == (float(row["probability[cat]"]) >= threshold)


def test_three_classes_are_refused_before_anything_is_trained(data: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="between two classes, and there are 3"):
        mmdistill.run(Recipe.from_mapping({**data, "task": POINT}), root=tmp_path / "runs")


def test_without_validation_rows_nothing_is_trained(data: dict[str, Any], tmp_path: Path) -> None:
    two_animals(Path(data["data"]["table"]))
    data["data"]["split"] = {"validation": 0, "test": 0.2}
    data["train"]["select"] = "last"
    with pytest.raises(InputError, match="validation rows of both classes, and there are none"):
        mmdistill.run(Recipe.from_mapping({**data, "task": POINT}), root=tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*/*/seed-*/model.json"))
