"""A recipe becomes a run folder that holds all that the design promises."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import mmdistill
from mmdistill import Recipe
from mmdistill.errors import InputError

from .conftest import write_table


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run that the tests of this file look at."""
    import copy

    from .conftest import RECIPE

    folder = tmp_path_factory.mktemp("run")
    data = copy.deepcopy(RECIPE)
    data["data"]["table"] = str(write_table(folder / "animals.csv"))
    data["teacher"]["control"] = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMDISTILL_CACHE", str(folder / "cache"))
        return mmdistill.run(Recipe.from_mapping(data), root=folder / "runs").folder


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def test_the_run_folder_is_complete(finished: Path) -> None:
    for name in ["recipe.yaml", "environment.json", "data.json", "results.json", "report.html", "README.md", "figures"]:
        assert (finished / name).exists(), name
    for model, seeds in {"teacher": 1, "student": 2, "baseline": 2, "control-teacher": 1, "control": 2}.items():
        for seed in range(seeds):
            held = {path.name for path in (finished / model / f"seed-{seed}").iterdir()}
            assert held == {"model.safetensors", "model.json", "history.csv", "predictions.parquet"}, model


def test_results_have_the_form_of_the_design(finished: Path) -> None:
    content = results(finished)
    assert content["format"] == 1
    assert content["primary_metric"] == "accuracy"
    assert content["higher_is_better"] is True
    assert {name: model["role"] for name, model in content["models"].items()} == {
        "teacher": "teacher",
        "student": "student",
        "baseline": "baseline",
        "control-teacher": "control",
        "control": "control",
    }
    for model in content["models"].values():
        assert model["parameters"] > 0
        assert model["multiply_adds"] > 0
        assert set(model["latency_ms"]) >= {"batch_1", "batch_64"}
        for run in model["runs"]:
            assert 0 <= run["metrics"]["accuracy"] <= 1
            assert set(run["metrics"]) <= set(content["metrics"])
    assert content["compression"] == pytest.approx(
        content["models"]["teacher"]["parameters"] / content["models"]["student"]["parameters"]
    )
    assert len(content["gain"]["ci95"]) == 2
    assert {(gain["student"], gain["baseline"]) for gain in content["gains"]} == {
        ("student", "baseline"),
        ("student", "control"),
    }


def test_every_subset_of_the_teachers_modalities_is_scored(finished: Path) -> None:
    subsets = results(finished)["models"]["teacher"]["runs"][0]["modalities"]
    assert set(subsets) == {"note", "size", "note+size"}
    assert subsets["note+size"]["accuracy"] == results(finished)["models"]["teacher"]["runs"][0]["metrics"]["accuracy"]


def test_the_gain_is_the_difference_of_the_means(finished: Path) -> None:
    content = results(finished)
    mean = {
        name: sum(run["metrics"]["accuracy"] for run in content["models"][name]["runs"]) / 2
        for name in ("student", "baseline")
    }
    assert content["gain"]["mean"] == pytest.approx(mean["student"] - mean["baseline"])
    assert content["gain"]["ci95"][0] <= content["gain"]["mean"] <= content["gain"]["ci95"][1]


def test_student_and_baseline_take_the_same_steps_from_the_same_weights(finished: Path) -> None:
    content = results(finished)
    for student, baseline in zip(
        content["models"]["student"]["runs"], content["models"]["baseline"]["runs"], strict=True
    ):
        assert student["steps"] == baseline["steps"]
        assert student["initial_weights"] == baseline["initial_weights"]


def test_predictions_hold_the_test_rows_of_every_subset(finished: Path) -> None:
    table = pq.read_table(finished / "teacher" / "seed-0" / "predictions.parquet").to_pandas()
    assert set(table["subset"]) == {"note", "size", "note+size"}
    assert (table.groupby("subset").size() == results(finished)["data"]["splits"]["test"]["rows"]).all()


def test_a_second_run_repeats_nothing(finished: Path) -> None:
    recipe = Recipe.load(finished / "recipe.yaml")
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    again = mmdistill.run(recipe, root=finished.parent)
    assert again.results == results(finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")} == before


def test_one_recipe_one_result(data: dict[str, Any], tmp_path: Path) -> None:
    first = mmdistill.run(Recipe.from_mapping(data), root=tmp_path / "one").folder
    second = mmdistill.run(Recipe.from_mapping(data), root=tmp_path / "two").folder
    assert without_times(results(first)) == without_times(results(second))
    for path in first.rglob("model.safetensors"):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()


def without_times(value: Any) -> Any:
    """Results without times, latencies and memory, which differ between equal runs."""
    times = {"train_seconds", "latency_ms", "seconds", "created", "peak_memory_megabytes", "environment"}
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in times}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def test_a_teacher_of_an_earlier_run_teaches_a_new_student(
    finished: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    data["teacher"] = {"run": str(finished)}
    data["seeds"] = [0]
    again = mmdistill.run(Recipe.from_mapping(data), root=tmp_path / "runs")
    assert again.results["models"]["teacher"]["label"] == "Teacher (note, size)"
    old = results(finished)["models"]["teacher"]["runs"][0]["metrics"]
    assert again.results["models"]["teacher"]["runs"][0]["metrics"] == pytest.approx(old)


def test_a_teacher_that_may_have_seen_the_test_rows_is_refused(
    finished: Path, data: dict[str, Any], tmp_path: Path
) -> None:
    data["teacher"] = {"run": str(finished)}
    data["data"]["split"] = {"seed": 5}
    with pytest.raises(InputError, match="may have seen this run's test rows"):
        mmdistill.run(Recipe.from_mapping(data), root=tmp_path / "runs")
    other = {**data, "data": {**data["data"], "split": "split", "table": str(write_table(tmp_path / "b.csv", seed=9))}}
    done = mmdistill.run(Recipe.from_mapping(other), root=tmp_path / "runs")
    assert "another table" in done.results["cautions"][0]


def test_a_finished_run_is_not_the_result_of_a_changed_table(data: dict[str, Any], tmp_path: Path) -> None:
    data["train"]["epochs"] = 1
    data["seeds"] = [0]
    mmdistill.run(Recipe.from_mapping(data), root=tmp_path)
    write_table(Path(data["data"]["table"]), seed=1)
    with pytest.raises(InputError, match="data changed"):
        mmdistill.run(Recipe.from_mapping(data), root=tmp_path)
    mmdistill.run(Recipe.from_mapping(data), root=tmp_path, overwrite=True)


def test_a_model_is_evaluated_and_predicts_without_the_other_columns(finished: Path, tmp_path: Path) -> None:
    from mmdistill.run.apply import evaluate_run, predict_table
    from mmdistill.run.folder import find_run

    scores = evaluate_run(find_run(finished))
    expected = {run["seed"]: run["metrics"]["accuracy"] for run in results(finished)["models"]["student"]["runs"]}
    assert {run["seed"]: run["metrics"]["accuracy"] for run in scores["models"]["student"]["runs"]} == pytest.approx(
        expected
    )
    (tmp_path / "new.csv").write_text("note\nthe small bark\n\na very large purr\n")
    summary = predict_table(find_run(finished), str(tmp_path / "new.csv"), tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    names = ["probability[cat]", "probability[dog]", "probability[fish]"]
    assert lines[0].split(",") == ["row", "prediction", "probability", *names]
    assert len(lines) == summary["rows"] + 1
    assert math.isclose(sum(float(value) for value in lines[1].split(",")[3:]), 1, abs_tol=1e-5)


def test_a_run_is_not_continued_on_other_data(data: dict[str, Any], tmp_path: Path) -> None:
    data |= {"seeds": 1, "train": {**data["train"], "epochs": 1}}
    recipe = Recipe.from_mapping(data)
    folder = mmdistill.run(recipe, tmp_path / "runs").folder
    (folder / "results.json").unlink()
    table = Path(data["data"]["table"])
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *sorted(lines[1:])]) + "\n")
    with pytest.raises(InputError, match="data changed since this run was made"):
        mmdistill.run(recipe, tmp_path / "runs")
    assert mmdistill.run(recipe, tmp_path / "runs", overwrite=True).results["seeds"] == [0]


def test_rows_that_a_run_skipped_are_skipped_when_it_is_evaluated(data: dict[str, Any], tmp_path: Path) -> None:
    from mmdistill.run.apply import evaluate_run
    from mmdistill.run.folder import find_run

    table = Path(data["data"]["table"])
    lines = table.read_text().splitlines()
    lines[20] = lines[20].replace(",", ",inf", 1)
    table.write_text("\n".join(lines) + "\n")
    data |= {"seeds": 1, "train": {**data["train"], "epochs": 1}}
    data["data"]["on_error"] = "skip"
    finished = mmdistill.run(Recipe.from_mapping(data), tmp_path / "runs")
    assert finished.results["data"]["skipped"] == 1
    scored = evaluate_run(find_run(finished.folder))
    for name, model in scored["models"].items():
        assert model["runs"][0]["metrics"] == pytest.approx(finished.results["models"][name]["runs"][0]["metrics"])
    assert evaluate_run(find_run(finished.folder), str(table))["rows"] > 0


def test_a_table_without_the_models_column_is_refused(finished: Path, tmp_path: Path) -> None:
    from mmdistill.run.apply import predict_table
    from mmdistill.run.folder import find_run

    (tmp_path / "new.csv").write_text("notes\nthe small bark\n")
    with pytest.raises(InputError, match="note"):
        predict_table(find_run(finished), str(tmp_path / "new.csv"), tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("losses", "augment", "store", "message"),
    [
        ([{"name": "kd", "taps": {"student": "note", "teacher": "fused"}}], None, None, "outputs"),
        (["kd"], {"drop": 0.1}, True, "augmented"),
    ],
)
def test_an_objective_that_does_not_fit_is_refused_before_the_teacher_is_trained(
    data: dict[str, Any], tmp_path: Path, losses: Any, augment: Any, store: Any, message: str
) -> None:
    data["student"]["encoders"]["note"] = {"name": "bag", "dim": 24}
    data["distill"] = {"losses": losses, "signals": {"store": store}}
    data["data"]["columns"]["note"]["augment"] = augment
    with pytest.raises(InputError, match=message):
        mmdistill.run(Recipe.from_mapping(data), tmp_path / "runs")
    assert not (tmp_path / "runs" / "animals").exists()


def test_a_split_of_which_no_row_can_be_read_is_refused_before_training(data: dict[str, Any], tmp_path: Path) -> None:
    table = Path(data["data"]["table"])
    lines = [line.replace(",", ",inf", 1) if ",test," in line else line for line in table.read_text().splitlines()]
    table.write_text("\n".join(lines) + "\n")
    data["data"]["on_error"] = "skip"
    with pytest.raises(InputError, match="No row of the test split"):
        mmdistill.run(Recipe.from_mapping(data), tmp_path / "runs")


def test_a_control_is_no_baseline(data: dict[str, Any], tmp_path: Path) -> None:
    data |= {"seeds": 1, "train": {**data["train"], "epochs": 1}}
    data["teacher"]["control"] = True
    data["student"]["baseline"] = False
    finished = mmdistill.run(Recipe.from_mapping(data), tmp_path / "runs")
    assert [gain["compared_with"] for gain in finished.results["gains"]] == ["control"]
    assert finished.results["gain"] is None
    assert "no gain can be claimed" in finished.results["verdict"]
    assert "no gain can be claimed" in (finished.folder / "report.html").read_text(encoding="utf-8")
    from mmdistill.report.reading import read_results

    assert read_results(finished.folder / "results.json").main_gain is None
