"""Balanced teachers, run for real: models of each column alone, probes in the history and in the report."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path
from typing import Any

import pytest

import mmdistill
from mmdistill import Recipe

from .conftest import RECIPE, write_table

BOTH: dict[str, Any] = {"encoders": {"note": "bag", "size": "mlp"}, "fusion": "concat"}
TEACHERS: dict[str, Any] = {
    "umt": {**BOTH, "modality_balance": "unimodal_teachers"},
    "g2d": {**BOTH, "modality_balance": ["g2d", "ogm_ge"], "modality_dropout": 0.2},
    "blended": {**BOTH, "modality_balance": "gradient_blending"},
    "plain": BOTH,
}


def recipe_for(folder: Path, **changes: Any) -> Recipe:
    data = copy.deepcopy({**RECIPE, **changes})
    del data["student"], data["teacher"]
    data["data"]["table"] = str(write_table(folder / "animals.csv"))
    data["teachers"] = TEACHERS
    data["students"] = {"student": {"encoders": {"note": "bag"}, "teacher": "umt", "baseline": False}}
    data["seeds"] = 1
    return Recipe.from_mapping(data)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("balances")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDISTILL_CACHE", str(folder / "cache"))
        return mmdistill.run(recipe_for(folder), root=folder / "runs").folder


def history(folder: Path, model: str) -> list[dict[str, str]]:
    with (folder / model / "seed-0" / "history.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_models_of_each_column_alone_are_trained_and_compared(finished: Path) -> None:
    models = json.loads((finished / "results.json").read_text())["models"]
    assert models["umt-only-note"]["columns"] == ["note"]
    assert models["umt-only-size"]["role"] == "control"
    assert models["umt"]["teachers"] == ["umt-only-note", "umt-only-size"]
    assert "plain-only-note" not in models
    names = list(models)
    assert names.index("umt-only-size") < names.index("umt")


def test_a_teacher_takes_the_steps_it_would_take_without_unimodal_teachers(finished: Path) -> None:
    models = json.loads((finished / "results.json").read_text())["models"]
    steps = {name: models[name]["runs"][0]["steps"] for name in TEACHERS}
    assert len(set(steps.values())) == 1


def test_terms_and_probes_stand_in_the_history(finished: Path) -> None:
    umt, g2d, blended = (history(finished, name)[-1] for name in ("umt", "g2d", "blended"))
    assert {"supervised", "fitnets", "fitnets_2"} <= umt.keys()
    assert {"fitnets", "kd", "kd_2"} <= g2d.keys()
    assert {"blended/note", "blended/size"} <= blended.keys()
    for row in (umt, g2d, blended):
        assert 0 <= float(row["note/validation_score"]) <= 1
        assert float(row["probe/size"]) > 0
    parts = sum(float(blended[name]) for name in ("supervised", "blended/note", "blended/size"))
    assert float(blended["total"]) == pytest.approx(parts, rel=1e-5)
    assert not any("probe" in name for name in history(finished, "umt-only-note")[0])


def test_a_column_may_be_named_in_any_language(data: dict[str, Any], tmp_path: Path) -> None:
    columns = data["data"]["columns"]
    data["data"]["columns"] = {"note": columns["note"], "größe": columns["size"]}
    data["teacher"] = {"encoders": {"note": "bag", "größe": "mlp"}, "modality_balance": "g2d"}
    data["student"]["baseline"] = False
    data["train"]["epochs"], data["seeds"] = 1, 1
    folder = mmdistill.run(Recipe.from_mapping(data), root=tmp_path / "runs").folder
    models = json.loads((folder / "results.json").read_text(encoding="utf-8"))["models"]
    assert models["teacher-only-größe"]["columns"] == ["größe"]
    assert models["teacher"]["teachers"] == ["teacher-only-größe", "teacher-only-note"]


def test_the_report_shows_probes(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "What each column has learnt" in page
    assert "Probes of the columns" in page
