"""Models of several columns, run for real: teachers alone, fewer modalities, and what is said of them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import mmdistill
from mmdistill import Recipe
from mmdistill.report.compare import compare

from .conftest import RECIPE, write_table

BOTH = {"encoders": {"note": "bag", "size": "mlp"}}


def recipe_of(folder: Path, **changes: Any) -> Recipe:
    data = copy.deepcopy(RECIPE)
    data["data"]["table"] = str(write_table(folder / "animals.csv"))
    del data["teacher"], data["student"]
    return Recipe.from_mapping({**data, **changes})


def results_of(recipe: Recipe, folder: Path) -> dict[str, Any]:
    run = mmdistill.run(recipe, root=folder / "runs")
    content: dict[str, Any] = json.loads((run.folder / "results.json").read_text())
    return content


@pytest.fixture(scope="module")
def teachers_alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("teachers")
    teachers = {
        "attending": {**BOTH, "fusion": "cross_attention"},
        "sharing": {**BOTH, "fusion": "misa"},
        "joined": {**BOTH, "fusion": "concat", "per_seed": True},
        "gated": {**BOTH, "fusion": "gated", "modality_dropout": 0.3, "per_seed": True},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDISTILL_CACHE", str(folder / "cache"))
        return folder, results_of(recipe_of(folder, teachers=teachers), folder)


def test_teachers_without_a_student_are_compared(teachers_alone: tuple[Path, dict[str, Any]]) -> None:
    folder, results = teachers_alone
    assert {name: model["role"] for name, model in results["models"].items()} == {
        "attending": "teacher",
        "sharing": "teacher",
        "joined": "teacher",
        "gated": "teacher",
    }
    assert results["gain"] is None and results["gains"] == [] and results["compression"] is None
    assert results["verdict"].startswith("No student was trained")
    assert "Of 4 teachers" in results["verdict"]
    page = (folder / "runs" / "animals" / "report.html").read_text()
    assert "Teachers only" in page and "No gain can be claimed" not in page
    ranked = compare([folder / "runs" / "animals"])
    assert {entrant.name for entrant in ranked.students} == {"attending", "sharing", "joined", "gated"}
    assert ranked.references == []


def test_the_cost_of_each_missing_modality_is_told(teachers_alone: tuple[Path, dict[str, Any]]) -> None:
    _, results = teachers_alone
    for model in results["models"].values():
        for run in model["runs"]:
            scores = run["modalities"]
            assert set(run["drops"]) == {"note", "size"}
            expected = scores["note+size"]["accuracy"] - scores["note"]["accuracy"]
            assert run["drops"]["size"]["accuracy"] == pytest.approx(expected)
            assert all("majority" not in metric for metric in run["drops"]["size"])


def test_where_a_fusion_looks_is_told_and_drawn(teachers_alone: tuple[Path, dict[str, Any]]) -> None:
    folder, results = teachers_alone
    (run,) = results["models"]["attending"]["runs"]
    assert run["attention"]["mean"]["queries"] == ["note", "size"]
    for row in run["attention"]["mean"]["shares"]:
        assert sum(row) == pytest.approx(1.0, abs=1e-5)
    assert "attention" not in results["models"]["joined"]["runs"][0]
    assert "How the columns come together" in (folder / "runs" / "animals" / "report.html").read_text()


def test_what_columns_share_is_told(teachers_alone: tuple[Path, dict[str, Any]]) -> None:
    _, results = teachers_alone
    (run,) = results["models"]["sharing"]["runs"]
    spaces = run["subspaces"]
    assert spaces["columns"] == ["note", "size"]
    assert len(spaces["shared"]["note"]) == len(spaces["private"]["note"]) <= spaces["shown"] <= spaces["rows"]
    assert set(spaces["cosine"]) == {"same_row", "other_rows", "shared_private"}
    assert "subspaces" not in results["models"]["attending"]["runs"][0]


def test_subsets_that_a_model_was_never_trained_with_are_named(teachers_alone: tuple[Path, dict[str, Any]]) -> None:
    """Every row has both columns, though a number in one of them may be missing."""
    folder, results = teachers_alone
    assert results["models"]["joined"]["runs"][0]["never_seen"] == ["note", "size"]
    assert results["models"]["gated"]["runs"][0]["never_seen"] == [], "modality dropout shows it each alone"
    assert "never seen" in (folder / "runs" / "animals" / "report.html").read_text()


def test_a_recipe_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(mmdistill.errors.InputError, match="neither a teacher nor a student"):
        recipe_of(tmp_path)
