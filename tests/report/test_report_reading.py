"""A run folder that is missing, unfinished or damaged is one clear error; everything optional may be absent."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from fake_runs import VARIANTS, helped

from mmdistill.errors import InputError
from mmdistill.report.reading import parse_results
from mmdistill.report.run_folder import read_history, read_run_folder


def test_a_missing_folder_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such run folder.*mmdistill run"):
        read_run_folder(tmp_path / "nowhere")


def test_a_folder_that_is_no_run_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a run folder"):
        read_run_folder(tmp_path)


def test_an_unfinished_run_says_what_is_there(tmp_path: Path) -> None:
    folder = helped().write(tmp_path / "run")
    (folder / "results.json").unlink()
    with pytest.raises(InputError, match=r"results.json is missing, and no model has been trained yet"):
        read_run_folder(folder)
    for seed in (0, 1):
        (folder / "student" / f"seed-{seed}" / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"models trained so far: student \(2\).*`mmdistill run`"):
        read_run_folder(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda results: results.pop("models"), "'models' is missing"),
        (lambda results: results.pop("primary_metric"), "'primary_metric' is missing"),
        (lambda results: results["models"].clear(), "'models'"),
        (lambda results: results["models"]["student"].pop("role"), r"'models\.student\.role' is missing"),
        (lambda results: results["models"]["student"]["runs"].clear(), r"'models\.student\.runs'"),
        (lambda results: results["models"]["student"]["runs"][1].pop("metrics"), r"runs\.1\.metrics' is missing"),
        (lambda results: results.update(format=2), "format 2.*reads up to 1.*Update mmdistill"),
    ],
)
def test_damaged_results_name_the_key(tmp_path: Path, change: Any, said: str) -> None:
    folder = helped().write(tmp_path / "run")
    results = helped().results()
    change(results)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    with pytest.raises(InputError, match=said) as raised:
        read_run_folder(folder)
    assert "results.json" in str(raised.value)


@pytest.mark.parametrize("name", ["results.json", "environment.json", "data.json"])
def test_a_file_that_is_cut_off_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    folder = helped().write(tmp_path / "run")
    text = (folder / name).read_text(encoding="utf-8")
    (folder / name).write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(InputError, match=rf"{name}, line 1: The file is not JSON"):
        read_run_folder(folder)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"text"'])
def test_results_that_are_no_object_are_an_input_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        read_run_folder(tmp_path)


def test_a_history_cell_that_is_no_number_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss\n1,0.5\n2,oops\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"history.csv, line 3, column 'loss': 'oops' is not a number"):
        read_history(path)
    path.write_text("epoch,loss\n1,0.5\n2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 3: The line has 1 cells, and the header 2"):
        read_history(path)


def test_histories_are_read_by_model_and_seed(tmp_path: Path) -> None:
    run = read_run_folder(helped().write(tmp_path / "run"))
    assert {name: sorted(seeds) for name, seeds in run.histories.items()} == {
        "teacher": [0],
        "student": [0, 1, 2],
        "baseline": [0, 1, 2],
    }
    history = run.histories["student"][1]
    assert history.terms() == ["supervised", "kd", "total"]
    assert history.epochs == [half / 2 for half in range(1, 41)]
    assert math.isnan(history.columns[history.validation("accuracy")][0]), "an empty cell is not measured"


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_is_read(variant: str) -> None:
    results = parse_results(VARIANTS[variant]().results())
    assert set(results.ordered) == set(results.models)
    assert results.ordered[0] == "teacher"


def test_students_stand_beside_their_baselines() -> None:
    results = parse_results(VARIANTS["several_students"]().results())
    assert results.ordered[:5] == ["teacher", "student", "baseline", "pair", "pair-baseline"]


def test_a_gain_of_a_model_that_is_not_there_is_left_out() -> None:
    content = helped().results()
    del content["models"]["baseline"]
    results = parse_results(content)
    assert results.main_gain is None
    assert results.all_gains == []
