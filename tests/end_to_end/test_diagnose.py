"""`mmdistill diagnose`: recipes and runs, what it trains, what it never reads, where it writes."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmdistill.data.store import FeatureStore
from mmdistill.errors import InputError
from mmdistill.recipe import Recipe
from mmdistill.report.diagnosis.page import render
from mmdistill.run import run
from mmdistill.run.diagnose import diagnose_path, diagnose_recipe, diagnose_run
from mmdistill.run.folder import RunFolder
from tests.report.html_page import parse

from .conftest import Command


def recipe_of(data: dict[str, Any], **changes: Any) -> Recipe:
    quick = {"train": {**data["train"], "epochs": 1}, "seeds": 1}
    return Recipe.from_mapping({**copy.deepcopy(data), **quick, **changes})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_quick_trains_nothing_and_writes_beside_the_user(here: Path, data: dict[str, Any]) -> None:
    found = diagnose_recipe(recipe_of(data), quick=True)
    assert found.page == Path("diagnosis-animals.html")
    assert json.loads((here / "diagnosis-animals.json").read_text()) == found.diagnosis
    assert not (here / "runs").exists()
    diagnosis = found.diagnosis
    assert diagnosis["rows"]["unlabelled"] > 50
    scores = {name: one["value"] for name, one in diagnosis["probes"]["subsets"].items()}
    assert scores["size"] > scores["note"] > diagnosis["probes"]["chance"]["value"]
    shapley = {name: one["shapley"]["value"] for name, one in diagnosis["probes"]["columns"].items()}
    assert sum(shapley.values()) == pytest.approx(scores["note+size"] - diagnosis["probes"]["chance"]["value"])
    assert diagnosis["gain"]["student"]["by"] == "linear models"
    assert diagnosis["teachers"] == {}
    assert diagnosis["advice"][-1]["sentence"].startswith("Train the teacher")


def test_a_recipe_trains_its_teacher_as_a_run_does_and_the_run_finds_it_done(here: Path, data: dict[str, Any]) -> None:
    recipe = recipe_of(data)
    found = diagnose_recipe(recipe, here / "runs").diagnosis
    folder = RunFolder(here / "runs" / "animals")
    assert folder.is_trained("teacher", 0)
    assert not folder.is_trained("student", 0)
    assert {path.name for path in folder.path.glob("diagnosis.*")} == {"diagnosis.json", "diagnosis.html"}
    weights = folder.seed("teacher", 0) / "model.safetensors"
    before = weights.stat().st_mtime_ns, weights.read_bytes()

    teacher = found["teachers"]["teacher"]
    assert set(teacher["subsets"]["subsets"]) == {"note+size", "note", "size"}
    assert set(teacher["embeddings"]) == {"note", "size"}
    assert [one["columns"] for one in teacher["cka"]] == [["note", "size"]]
    assert teacher["temperature"]["temperature"] >= 1
    assert 0 <= teacher["visibility"]["student"]["logits"] <= 1
    assert found["gain"]["student"]["by"] == "teacher"

    finished = run(recipe, root=here / "runs")
    assert (weights.stat().st_mtime_ns, weights.read_bytes()) == before
    alone = run(recipe_of(data, name="alone"), root=here / "runs").results
    for name, model in alone["models"].items():
        assert finished.results["models"][name]["runs"][0]["metrics"] == model["runs"][0]["metrics"], name

    again = diagnose_run(folder).diagnosis
    assert again["teachers"]["teacher"]["score"] == teacher["score"]
    assert set(again["models"]) == {"student", "baseline"}
    assert again["gain"]["student"]["measured"] is not None
    validation = finished.results["models"]["student"]["runs"][0]["validation"]["accuracy"]
    assert again["models"]["student"]["score"]["value"] == pytest.approx(validation)


def test_no_test_row_is_read_and_none_counts(here: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    splits = [line.split(",")[4] for line in Path(data["data"]["table"]).read_text().splitlines()[1:]]
    test_rows = {row for row, split in enumerate(splits) if split == "test"}
    assert test_rows
    gathered: set[int] = set()
    gather = FeatureStore.gather

    def recorded(store: FeatureStore, rows: Any) -> Any:
        gathered.update(rows.tolist())
        return gather(store, rows)

    monkeypatch.setattr(FeatureStore, "gather", recorded)
    first = diagnose_recipe(recipe_of(data), here / "runs").diagnosis
    assert gathered
    assert not gathered & test_rows

    table = Path(data["data"]["table"])
    lines = table.read_text().splitlines()
    for row in test_rows:
        cells = lines[row + 1].split(",")
        lines[row + 1] = ",".join(["nothing", "9", "9", "red", "test", "fish" if cells[5] != "fish" else "cat"])
    table.write_text("\n".join(lines) + "\n")
    second = diagnose_recipe(recipe_of(data, name="animals-2"), here / "runs").diagnosis
    assert {**second, "name": "animals"} == first


def test_one_column_is_enough(here: Path, data: dict[str, Any]) -> None:
    recipe = recipe_of(data, teacher={"encoders": {"note": "bag"}})
    found = diagnose_recipe(recipe, here / "runs").diagnosis
    (column,) = found["probes"]["columns"].values()
    whole = found["probes"]["subsets"]["note"]["value"] - found["probes"]["chance"]["value"]
    assert column["shapley"]["value"] == pytest.approx(whole)
    assert found["probes"]["pairs"] == found["teachers"]["teacher"]["cka"] == []
    assert "none to drop" in found["advice"][0]["sentence"]


def test_a_column_that_most_rows_lack_and_labels_for_all(here: Path, data: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)
    table = Path(data["data"]["table"])
    header, *lines = table.read_text().splitlines()
    changed = [header]
    for row, line in enumerate(lines):
        cells = line.split(",")
        note = cells[0] if generator.random() < 0.15 else ""
        changed.append(",".join([note, *cells[1:5], ["cat", "dog", "fish"][row % 3]]))
    table.write_text("\n".join(changed) + "\n")
    found = diagnose_recipe(recipe_of(data), quick=True).diagnosis
    assert found["columns"]["note"]["missing_train"] > 0.8
    assert any(one["sentence"].startswith("note is missing in") for one in found["advice"])
    assert found["gain"]["student"]["taught"] is None
    assert "Every training row has a label" in " ".join(found["gain"]["student"]["reasons"])


def test_without_validation_rows_it_says_so_before_anything_is_trained(here: Path, data: dict[str, Any]) -> None:
    table = Path(data["data"]["table"])
    table.write_text(table.read_text().replace(",validation,", ",train,"))
    data["data"]["split"] = {"column": "split", "validation": 0}
    for quick in (True, False):
        with pytest.raises(InputError, match=r"There are no validation rows .* data\.split\.validation=0\.1"):
            diagnose_recipe(recipe_of(data), here / "runs", quick=quick)
    assert not (here / "runs").exists()


def test_wrong_use_is_refused(here: Path, recipe_file: Path, data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"not a run folder"):
        diagnose_path(here / "nothing")
    with pytest.raises(InputError, match=r"written as \.html"):
        diagnose_path(recipe_file, quick=True, output=here / "page.pdf")
    with pytest.raises(InputError, match=r"nothing\.yaml"):
        diagnose_path(here / "nothing.yaml")
    folder = here / "runs" / "empty"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe_of(data).to_yaml())
    with pytest.raises(InputError, match="No model of this run is finished"):
        diagnose_path(folder)
    with pytest.raises(InputError, match="cannot be set"):
        diagnose_path(folder, ["train.epochs=1"])
    assert diagnose_path(folder, quick=True).page == folder / "diagnosis.html"


def test_the_page_stands_alone_ends_in_advice_and_holds_the_numbers(here: Path, data: dict[str, Any]) -> None:
    data["data"]["columns"]["<b>size&"] = data["data"]["columns"].pop("size")
    data["teacher"]["encoders"]["<b>size&"] = data["teacher"]["encoders"].pop("size")
    found = diagnose_recipe(recipe_of(data), here / "runs").diagnosis
    page = render(found)
    tree = parse(page)
    ids = [element.attributes["id"] for element in tree.every() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert not re.search(r"https?:|<script|<link|@import", page)
    assert "<b>size" not in page
    sections = [section.attributes["id"] for section in tree.find("section")]
    assert sections[-1] == "advice"
    assert {"modalities", "pairs", "teacher", "knowledge", "labels", "gain"} <= set(sections)
    shown = {float(element.attributes["value"]) for element in tree.find("data")}
    for score in found["probes"]["subsets"].values():
        assert score["value"] in shown
    text = "".join(element.text for element in tree.find("li"))
    for one in found["advice"]:
        assert one["sentence"] in text


@pytest.mark.slow
def test_the_command_prints_tables_advice_and_json(mmdistill: Command, recipe_file: Path, tmp_path: Path) -> None:
    done = mmdistill("diagnose", recipe_file, "seeds=1", "--quick", "--json", "--output", "page.html", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    *text, last = done.stdout.splitlines()
    assert json.loads(last)["name"] == "animals"
    assert "Shapley" in "\n".join(text)
    assert "What to try next" in "\n".join(text)
    assert (tmp_path / "page.html").exists()
    done = mmdistill("diagnose", recipe_file, "seeds=1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "animals" / "diagnosis.html").exists()
    done = mmdistill("diagnose", "animals", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["teachers"]["teacher"]["score"]
    assert mmdistill("diagnose", "animals", "seeds=2").returncode == 2
    assert "Example" in mmdistill("diagnose", "--help").stdout
