"""The terminal shows the same numbers, never cut, and several runs side by side."""

from __future__ import annotations

import io
import json
import statistics
from pathlib import Path

import pytest
from fake_runs import VARIANTS, FakeRun, helped, hurt, no_baseline, regression, several_students
from rich.console import Console

from mmdistill.errors import InputError
from mmdistill.report.compare import compare
from mmdistill.report.terminal import results_table


def shown(renderable: object, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_scores_are_whole_at_every_width(variant: str, width: int) -> None:
    results = VARIANTS[variant]().results()
    text = shown(results_table(results), width)
    assert max(map(len, text.splitlines())) <= width
    for model in results["models"].values():
        score = statistics.fmean(run["metrics"][results["primary_metric"]] for run in model["runs"])
        assert f"{score:.3f}" in text
    assert " ".join(results["verdict"].split()) in " ".join(text.split())


def test_the_verdict_stands_at_the_end_with_its_interval() -> None:
    lines = shown(results_table(hurt().results()), 160).strip().splitlines()
    assert lines[-1].startswith("Distillation hurt: student is worse than baseline")
    assert "95 % interval −0.067 to −0.027" in lines[-1]


def test_an_interval_that_the_verdict_does_not_tell_is_added() -> None:
    run = hurt()
    run.extra = {"verdict": "It did not help."}
    lines = [line.strip() for line in shown(results_table(run.results())).strip().splitlines()]
    assert lines[-3:] == [
        "Distillation hurt",
        "It did not help.",
        "Gain: −0.046 Accuracy, 95 % interval [−0.067,\u00a0−0.027], 3 seeds",
    ]


def test_text_of_users_is_not_read_as_markup() -> None:
    run = helped()
    run.extra = {"verdict": "[red]not markup[/red] [/nothing]"}
    assert "[red]not markup[/red] [/nothing]" in shown(results_table(run.results()))


def test_results_that_are_not_finished_are_refused() -> None:
    with pytest.raises(InputError, match="'name' is missing"):
        results_table({"format": 1})


def test_runs_stand_side_by_side_with_every_student(tmp_path: Path) -> None:
    makers = {"one": helped, "two": several_students, "three": no_baseline}
    folders = [maker().write(tmp_path / name) for name, maker in makers.items()]
    comparison = compare(folders)
    content = json.loads(json.dumps(comparison.to_json()))
    assert [(Path(line["folder"]).name, line["model"]) for line in content["runs"]] == [
        ("one", "student"),
        ("two", "student"),
        ("two", "pair"),
        ("three", "student"),
    ]
    first, last = content["runs"][0], content["runs"][-1]
    expected = helped().results()
    assert first["gain"] == expected["gain"]["mean"]
    assert first["ci95"] == expected["gain"]["ci95"]
    assert first["parameters"] == 48_210
    assert first["verdict"] == "good"
    assert last["gain"] is last["ci95"] is last["verdict"] is None
    text = shown(comparison)
    assert f"{first['score']:.3f}" in text
    assert "+0.094" in text


def test_runs_of_the_same_folder_name_are_told_apart_by_their_path(tmp_path: Path) -> None:
    folders = [helped().write(tmp_path / name / "run") for name in ("a", "b")]
    names = [row.cells[0].text for row in compare(folders).table().rows]
    assert names == [str(folder) for folder in folders]


def test_other_tasks_or_metrics_are_refused_with_both_named(tmp_path: Path) -> None:
    one = helped().write(tmp_path / "one")
    with pytest.raises(InputError, match=r"task is 'regression', and that of .*one is 'classification'"):
        compare([one, regression().write(tmp_path / "two")])
    with pytest.raises(InputError, match=r"primary metric is 'macro_f1'.*'accuracy'"):
        compare([one, FakeRun(primary="macro_f1").write(tmp_path / "three")])


def test_comparing_nothing_or_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to compare"):
        compare([])
    with pytest.raises(InputError, match="not a run folder"):
        compare([tmp_path])
