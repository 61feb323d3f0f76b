"""Students are ranked on validation and on nothing else; the test score stands beside it, with what it can bear."""

from __future__ import annotations

import io
import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from fake_runs import FakeRun, Sketch, helped, no_baseline, regression, several_students
from rich.console import Console
from typer.testing import CliRunner

from mmdistill.cli import app
from mmdistill.errors import InputError
from mmdistill.evaluation.multiplicity import holm
from mmdistill.report.compare import Comparison, compare


def shown(comparison: Comparison, width: int = 240) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(comparison)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def models(comparison: Comparison) -> list[str]:
    """Run and model of every student, as ranked."""
    return [f"{Path(one['folder']).name}/{one['model']}" for one in comparison.to_json()["students"]]


def write(folder: Path, run: FakeRun, change: Any) -> Path:
    """Write a run whose results were changed."""
    run.write(folder)
    results = run.results()
    change(results)
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder


def many(count: int) -> FakeRun:
    """`count` students of one baseline, each a little worse than the one before."""
    run = FakeRun()
    run.models = {"teacher": run.models["teacher"], "baseline": run.models["baseline"]} | {
        f"student-{number:02}": Sketch("student", 0.95 - 0.01 * number, ["sound"], 48_210) for number in range(count)
    }
    run.pairs = [(name, "baseline") for name in run.models if name.startswith("student")]
    return run


class TestRanking:
    """The order is that of the mean validation scores."""

    def test_all_students_of_all_runs_are_in_one_ranking(self, tmp_path: Path) -> None:
        makers = {"one": helped, "two": several_students, "three": no_baseline}
        comparison = compare([maker().write(tmp_path / name) for name, maker in makers.items()])
        students = comparison.to_json()["students"]
        assert models(comparison) == ["two/pair", "one/student", "two/student", "three/student"]
        assert [one["rank"] for one in students] == [1, 2, 2, 2]
        means = [one["validation"]["mean"] for one in students]
        assert means == sorted(means, reverse=True)

    def test_test_scores_have_no_say(self, tmp_path: Path) -> None:
        def swap(results: dict[str, Any]) -> None:
            for model in results["models"].values():
                for run in model["runs"]:
                    run["validation"] = {"accuracy": 1 - run["metrics"]["accuracy"]}

        comparison = compare([write(tmp_path / "run", many(4), swap)])
        tests = [one["test"]["mean"] for one in comparison.to_json()["students"]]
        assert tests == sorted(tests)
        assert comparison.to_json()["ranked_on"] == "validation"

    def test_an_error_is_ranked_from_the_smallest(self, tmp_path: Path) -> None:
        run = regression()
        run.models["worse"] = Sketch("student", 0.5, ["sound"], 48_210)
        assert models(compare([run.write(tmp_path / "run")])) == ["run/student", "run/worse"]

    def test_without_a_validation_score_there_is_no_rank(self, tmp_path: Path) -> None:
        def forget(results: dict[str, Any]) -> None:
            for run in results["models"]["student-00"]["runs"]:
                run["validation"] = {}

        comparison = compare([write(tmp_path / "run", many(3), forget)])
        students = comparison.to_json()["students"]
        assert [(one["model"], one["rank"]) for one in students] == [
            ("student-01", 1),
            ("student-02", 2),
            ("student-00", None),
        ]
        assert any("Not ranked" in caution and "student-00" in caution for caution in comparison.cautions())

    def test_teachers_and_baselines_stand_apart(self, tmp_path: Path) -> None:
        comparison = compare([several_students().write(tmp_path / "run")])
        rows = comparison.table().rows
        assert [row.cells[0].text for row in rows] == [
            "1.\u00a0pair",
            "2.\u00a0student",
            "teacher",
            "baseline",
            "pair-baseline",
        ]
        assert [row.quiet for row in rows] == [False, False, True, True, True]

    def test_a_run_without_students_shows_its_teacher(self, tmp_path: Path) -> None:
        run = no_baseline()
        del run.models["student"]
        text = shown(compare([run.write(tmp_path / "run")]))
        assert "teacher" in text
        assert "ranked on the mean" not in text


class TestFigures:
    """What is told of a student is what its run says."""

    def test_scores_gain_time_and_size(self, tmp_path: Path) -> None:
        (one,) = compare([helped().write(tmp_path / "run")]).to_json()["students"]
        expected = helped().results()
        student, baseline = expected["models"]["student"], expected["models"]["baseline"]
        scores = [run["metrics"]["accuracy"] for run in student["runs"]]
        assert one["test"] == {"mean": statistics.fmean(scores), "std": statistics.stdev(scores)}
        assert one["gain"] == expected["gain"]["mean"]
        assert one["ci95"] == expected["gain"]["ci95"]
        assert one["p_adjusted"] == one["p_value"] == expected["gain"]["p_value"]
        assert one["verdict"] == one["verdict_adjusted"] == "helped"
        seconds = [statistics.fmean(run["train_seconds"] for run in each["runs"]) for each in (student, baseline)]
        assert one["train_time_ratio"] == pytest.approx(seconds[0] / seconds[1])
        assert one["parameters"] == 48_210
        assert one["losses"] == ["supervised", "kd"]

    def test_without_a_baseline_no_gain_is_told(self, tmp_path: Path) -> None:
        (one,) = compare([no_baseline().write(tmp_path / "run")]).to_json()["students"]
        empty = ("baseline", "gain", "ci95", "p_value", "p_adjusted", "verdict", "verdict_adjusted", "train_time_ratio")
        assert [one[key] for key in empty] == [None] * len(empty)

    def test_the_gain_is_that_over_the_baseline_and_not_over_a_control(self, tmp_path: Path) -> None:
        run = several_students()
        run.pairs = [("student", "control-student"), ("student", "baseline")]
        students = compare([run.write(tmp_path / "run")]).to_json()["students"]
        assert {one["model"]: one["baseline"] for one in students} == {"student": "baseline", "pair": None}

    def test_the_terminal_shows_whole_numbers_at_every_width(self, tmp_path: Path) -> None:
        comparison = compare([helped().write(tmp_path / "one"), several_students().write(tmp_path / "two")])
        for width in (80, 120, 240):
            text = shown(comparison, width)
            assert max(map(len, text.splitlines())) <= width
            for one in comparison.to_json()["students"]:
                assert f"{one['validation']['mean']:.3f}" in text
        assert "+0.094" in shown(comparison)


class TestManyGains:
    """Among many gains some look clear by chance."""

    def test_p_values_are_adjusted_for_all_students_of_all_runs(self, tmp_path: Path) -> None:
        comparison = compare([many(5).write(tmp_path / "one"), helped().write(tmp_path / "two")])
        students = comparison.to_json()["students"]
        assert comparison.to_json()["gains_tested"] == 6
        assert [one["p_adjusted"] for one in students] == holm([one["p_value"] for one in students])
        assert any("6 gains are told here" in caution for caution in comparison.cautions())

    def test_a_verdict_that_does_not_stand_among_them_is_marked(self, tmp_path: Path) -> None:
        def weaken(results: dict[str, Any]) -> None:
            for gain in results["gains"]:
                gain["p_value"] = 0.02

        comparison = compare([write(tmp_path / "run", many(4), weaken)])
        first = comparison.to_json()["students"][0]
        assert (first["verdict"], first["verdict_adjusted"]) == ("helped", "no clear difference")
        assert "helped (alone)" in shown(comparison)
        assert any("4 helped by their intervals, 0 also" in caution for caution in comparison.cautions())

    def test_too_few_resamples_for_so_many_are_told(self, tmp_path: Path) -> None:
        def coarse(results: dict[str, Any]) -> None:
            for gain in results["gains"]:
                gain["resamples"] = 100

        comparison = compare([write(tmp_path / "run", many(4), coarse)])
        assert any("evaluation.resamples" in caution for caution in comparison.cautions())
        assert not any("evaluation.resamples" in one for one in compare([many(4).write(tmp_path / "fine")]).cautions())

    def test_the_number_that_was_ranked_is_told(self, tmp_path: Path) -> None:
        assert any("5 students were ranked" in one for one in compare([many(5).write(tmp_path / "run")]).cautions())
        assert not any("were ranked" in one for one in compare([helped().write(tmp_path / "one")]).cautions())


class TestRuns:
    """Which runs can be compared, and how they are told apart."""

    def test_runs_of_the_same_folder_name_are_told_apart_by_their_path(self, tmp_path: Path) -> None:
        folders = [helped().write(tmp_path / name / "run") for name in ("a", "b")]
        names = [row.cells[0].text for row in compare(folders).table().rows[:2]]
        assert names == [f"1.\u00a0{folder}/student" for folder in folders]

    def test_a_run_that_is_named_twice_is_compared_once(self, tmp_path: Path) -> None:
        folder = helped().write(tmp_path / "run")
        assert models(compare([folder, folder.parent / "run" / ".." / "run"])) == ["run/student"]

    def test_other_rows_are_told(self, tmp_path: Path) -> None:
        def hold_out(rows: str) -> Any:
            return lambda results: results["data"].update(identity={"table": "t", "held_out": rows})

        one, two, three = (
            write(tmp_path / name, helped(), hold_out(rows)) for name, rows in (("a", "x"), ("b", "y"), ("c", "x"))
        )
        assert any("do not hold out the same rows" in caution for caution in compare([one, two]).cautions())
        assert not any("do not hold out the same rows" in caution for caution in compare([one, three]).cautions())

    def test_other_tasks_or_metrics_are_refused_with_both_named(self, tmp_path: Path) -> None:
        one = helped().write(tmp_path / "one")
        with pytest.raises(InputError, match=r"task is 'regression', and that of .*one is 'classification'"):
            compare([one, regression().write(tmp_path / "two")])
        with pytest.raises(InputError, match=r"primary metric is 'macro_f1'.*'accuracy'"):
            compare([one, FakeRun(primary="macro_f1").write(tmp_path / "three")])

    def test_comparing_nothing_or_an_unfinished_run_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no run to compare"):
            compare([])
        with pytest.raises(InputError, match="not a run folder"):
            compare([tmp_path])


class TestCommand:
    """`mmdistill compare`."""

    def test_json_and_markdown_hold_the_table(self, tmp_path: Path) -> None:
        folder, page = several_students().write(tmp_path / "run"), tmp_path / "table.md"
        done = CliRunner().invoke(app, ["compare", str(folder), "--markdown", str(page), "--json"])
        assert done.exit_code == 0, done.output
        content = json.loads(done.stdout.splitlines()[-1])
        assert [one["model"] for one in content["students"]] == ["pair", "student"]
        lines = page.read_text(encoding="utf-8").splitlines()
        assert lines[0].startswith("| Model | Losses | Validation: Accuracy ↑ | Test: Accuracy ↑ | Gain ↑ |")
        assert lines[2].startswith("| 1. pair | supervised + kd |")
        assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
        assert [line.removeprefix("- ") for line in lines if line.startswith("- ")] == content["cautions"]

    def test_a_run_that_is_not_there_is_an_error_for_users(self, tmp_path: Path) -> None:
        done = CliRunner().invoke(app, ["compare", str(tmp_path / "nothing")])
        assert done.exit_code == 2
        assert "Traceback" not in done.output
