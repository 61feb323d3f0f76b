"""The page says what results.json says, stands alone, and reads well for everybody."""

from __future__ import annotations

import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from fake_runs import RECIPE, VARIANTS, FakeRun, Sketch, helped, no_baseline, several_students
from html_page import Element, parse

from mmdistill.errors import MMDistillError
from mmdistill.report.figures.palette import DARK, LIGHT
from mmdistill.report.page import write_report


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, dict[str, Any]]]:
    """Every variant's page and its results, written once."""
    written = {}
    for name, variant in VARIANTS.items():
        folder = variant().write(tmp_path_factory.mktemp("runs") / name)
        page = write_report(folder).read_text(encoding="utf-8")
        written[name] = page, json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return written


def sections_of(page: str) -> list[str]:
    return [section.attributes["id"] for section in parse(page).find("section")]


def table(page: str, caption: str) -> Element:
    found = [each for each in parse(page).find("table") if each.find("caption")[0].text == caption]
    assert len(found) == 1, caption
    return found[0]


def values(row: Element) -> list[float]:
    return [float(element.attributes["value"]) for element in row.find("data")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_page_is_well_formed_and_its_ids_are_unique(pages: Any, variant: str) -> None:
    tree = parse(pages[variant][0])
    ids = [element.attributes["id"] for element in tree.every() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    anchors = {element.attributes["href"] for element in tree.find("a")}
    assert anchors <= {f"#{name}" for name in ids}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_page_refers_to_nothing_outside_itself(pages: Any, variant: str) -> None:
    page = pages[variant][0]
    assert "http:" not in page
    assert "https:" not in page
    assert not parse(page).find("script")
    assert not parse(page).find("link")
    for element in parse(page).every():
        for attribute in ("href", "src", "xlink:href"):
            assert element.attributes.get(attribute, "#").startswith("#")
    assert not re.findall(r"url\((?!#)", page)
    assert "@import" not in page


def test_the_comparison_holds_the_numbers_of_the_results(pages: Any) -> None:
    page, results = pages["several_students"]
    rows = {
        row.find("th")[0].text: row for row in table(page, "Score and cost of every model").find("tbody")[0].find("tr")
    }
    teacher = statistics.fmean(run["metrics"]["accuracy"] for run in results["models"]["teacher"]["runs"])
    for name, model in results["models"].items():
        score = statistics.fmean(run["metrics"]["accuracy"] for run in model["runs"])
        share = [] if name == "teacher" else [results["retained"] if name == "student" else score / teacher]
        seconds = statistics.fmean(run["train_seconds"] for run in model["runs"])
        cost = [model[key] for key in ("parameters", "megabytes", "multiply_adds")]
        expected = [score, *share, *cost, *model["latency_ms"].values(), seconds]
        assert values(rows[model["label"]]) == pytest.approx(expected, rel=1e-12), name
    assert values(rows["Always the most frequent class"]) == [results["majority"]["accuracy"]]


def test_every_metric_of_every_model_is_told_with_its_direction(pages: Any) -> None:
    page, results = pages["helped"]
    for row in table(page, "All metrics on the test rows").find("tbody")[0].find("tr"):
        label, arrow = row.find("th")[0].text.rsplit(" ", 1)
        metric = next(name for name, each in results["metrics"].items() if each["label"] == label)
        assert arrow == ("↑" if results["metrics"][metric]["higher_is_better"] else "↓")
        expected = [
            statistics.fmean(run["metrics"][metric] for run in model["runs"]) for model in results["models"].values()
        ]
        assert values(row)[:3] == pytest.approx(expected, rel=1e-12)


def test_gains_are_those_of_the_results(pages: Any) -> None:
    page, results = pages["several_students"]
    rows = table(page, "Gain over the model beside it").find("tbody")[0].find("tr")
    assert [values(row) for row in rows] == [
        [gain["mean"], gain["p_value"], gain["seeds"]] for gain in results["gains"]
    ]


def test_key_figures_are_those_of_the_results(pages: Any) -> None:
    page, results = pages["helped"]
    shown = [float(each.attributes["value"]) for each in parse(page).find("dl")[0].find("data")]
    mean = [
        statistics.fmean(run["metrics"]["accuracy"] for run in model["runs"]) for model in results["models"].values()
    ]
    faster = (
        results["models"]["teacher"]["latency_ms"]["batch_1"] / results["models"]["student"]["latency_ms"]["batch_1"]
    )
    assert shown == pytest.approx([results["gain"]["mean"], *mean, results["compression"], faster], rel=1e-12)


def test_the_standard_deviation_is_over_seeds(pages: Any) -> None:
    page, results = pages["helped"]
    scores = [run["metrics"]["accuracy"] for run in results["models"]["student"]["runs"]]
    assert f"± {statistics.stdev(scores):.3f}" in table(page, "Score and cost of every model").text


def test_per_class_differences_are_student_minus_baseline(pages: Any) -> None:
    page, results = pages["helped"]

    def f1(model: str, place: int) -> float:
        return statistics.fmean(run["details"]["per_class"][place]["f1"] for run in results["models"][model]["runs"])

    rows = table(page, "Scores per class, means over seeds").find("tbody")[0].find("tr")
    assert len(rows) == 6
    for place, row in enumerate(rows):
        assert values(row)[-1] == pytest.approx(f1("student", place) - f1("baseline", place), abs=1e-12)


@pytest.mark.parametrize(
    ("variant", "tone", "badge"),
    [
        ("helped", "good", "Distillation helped"),
        ("hurt", "bad", "Distillation hurt"),
        ("unclear", "unclear", "No clear difference"),
        ("no_baseline", "unclear", "No gain can be claimed"),
        ("one_seed", "unclear", "Interval unknown: no claim"),
        ("regression", "good", "Distillation helped"),
    ],
)
def test_the_verdict_comes_first_in_words_and_tone(pages: Any, variant: str, tone: str, badge: str) -> None:
    page, results = pages[variant]
    first = parse(page).find("section")[0]
    assert first.attributes["id"] == "verdict"
    assert first.attributes["class"].split() == ["verdict", tone]
    said = " ".join(first.text.split())
    assert said.startswith(badge)
    assert results["verdict"].removeprefix(badge) in said


def test_a_verdict_that_the_results_do_not_bring_is_made_from_the_gain(tmp_path: Path) -> None:
    run = helped()
    run.without = ("verdict",)
    verdict = parse(write_report(run.write(tmp_path / "run")).read_text(encoding="utf-8")).find("section")[0].text
    assert "is better than Baseline (sound) by +0.094 Accuracy" in verdict


def test_sections_come_in_order_and_all_are_there(pages: Any) -> None:
    expected = (
        "verdict scores gain curves teaching tradeoff confusion classes subsets calibration agreement cost data recipe "
        "environment reproduce"
    )
    assert sections_of(pages["helped"][0]) == expected.split()


def test_what_is_missing_is_left_out(pages: Any, tmp_path: Path) -> None:
    assert "gain" not in sections_of(pages["no_baseline"][0])
    assert {"confusion", "classes", "calibration"}.isdisjoint(sections_of(pages["regression"][0]))
    run = no_baseline()
    run.without = (
        "data",
        "seconds",
        "majority",
        "metrics",
        "created",
        "version",
        "compression",
        "retained",
        "gain",
        "gains",
    )
    folder = run.write(tmp_path / "bare")
    for name in ("recipe.yaml", "environment.json", "data.json"):
        (folder / name).unlink()
    for history in folder.glob("*/*/history.csv"):
        history.unlink()
    sections = sections_of(write_report(folder).read_text(encoding="utf-8"))
    assert {"curves", "data", "recipe", "environment"}.isdisjoint(sections)
    assert {"verdict", "scores", "cost", "reproduce"} <= set(sections)


def test_the_least_that_results_may_hold_makes_a_page(tmp_path: Path) -> None:
    least = {
        "format": 1,
        "name": "least",
        "primary_metric": "accuracy",
        "higher_is_better": True,
        "models": {"student": {"role": "student", "runs": [{"seed": 0, "metrics": {"accuracy": 0.5}}]}},
    }
    (tmp_path / "results.json").write_text(json.dumps(least), encoding="utf-8")
    assert "No gain can be claimed" in write_report(tmp_path).read_text(encoding="utf-8")


def test_nulls_nan_and_unknown_keys_are_tolerated(tmp_path: Path) -> None:
    run = several_students()
    results = run.results()
    student = results["models"]["student"]
    student |= {"multiply_adds": None, "latency_ms": {"batch_1": None, "batch_64": 3.0}, "novel": {"deep": [1]}}
    student["runs"][0]["metrics"]["log_loss"] = float("nan")
    student["runs"][0]["calibration"] = None
    student["runs"][0]["details"] = None
    results["models"]["teacher"]["runs"][0]["agreement"] = {}
    run.extra = {"models": results["models"], "tasks": {"rating": {}}, "compression": None, "p": [None]}
    page = write_report(run.write(tmp_path / "run")).read_text(encoding="utf-8")
    assert "nan" not in " ".join(element.text for element in parse(page).find("table")).lower().split()


HOSTILE = '<script>alert("x")</script> & "#2f5aa8" id="y" {{ 7 * 7 }} $x_1$ </svg>'


def test_text_of_users_is_never_markup(tmp_path: Path) -> None:
    run = FakeRun(
        name=HOSTILE,
        task=HOSTILE,
        classes=[HOSTILE, "<b>", "一二三", "</td>", "]]>", "${x}"],
        recipe=f"# {HOSTILE}\n{RECIPE}",
        extra={"verdict": HOSTILE, "version": "<i>"},
    )
    run.models["student"] = Sketch("student", 0.87, ["<u>sound</u>"], 48_210, HOSTILE)
    page = write_report(run.write(tmp_path / "run")).read_text(encoding="utf-8")
    tree = parse(page)
    for tag in ("script", "b", "u"):
        assert not tree.find(tag)
    assert HOSTILE in tree.find("h1")[0].text
    assert HOSTILE in tree.find("section")[0].text
    assert HOSTILE in tree.find("pre")[0].text
    assert any("一二三" in element.text for element in tree.find("text"))
    assert any("#2f5aa8" in element.text for element in tree.find("desc"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_plots_follow_the_scheme_and_speak_for_themselves(pages: Any, variant: str) -> None:
    page = pages[variant][0]
    style = parse(page).find("style")[0].text
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)")
    assert all(f"--{name}: {value};" in light for name, value in LIGHT.items())
    assert all(f"--{name}: {value};" in dark for name, value in DARK.items())
    plots = list(parse(page).find("svg"))
    assert plots
    for svg in plots:
        colours = re.findall(r"#[0-9a-fA-F]{3,8}\b", " ".join(each.attributes.get("style", "") for each in svg.every()))
        assert not colours, "every colour of a plot is a variable of the page"
        assert svg.attributes["role"] == "img"
        assert svg.find("title")[0].text
        assert svg.find("desc")[0].text


def test_tables_have_captions_and_headers_with_scope(pages: Any) -> None:
    tables = parse(pages["several_students"][0]).find("table")
    assert tables
    for each in tables:
        assert each.find("caption")[0].text
        assert {header.attributes["scope"] for header in each.find("th")} == {"col", "row"}
        width = len(each.find("thead")[0].find("th"))
        assert all(len(row.find("th")) + len(row.find("td")) == width for row in each.find("tbody")[0].find("tr"))


def test_the_page_has_styles_for_paper(pages: Any) -> None:
    style = parse(pages["helped"][0]).find("style")[0].text
    assert "@media print" in style
    assert "@page" in style
    assert "break-inside: avoid" in style


def test_a_long_table_is_folded(tmp_path: Path) -> None:
    run = FakeRun(classes=[f"intent {number}" for number in range(77)])
    page = parse(write_report(run.write(tmp_path / "run")).read_text(encoding="utf-8"))
    folded = [each.find("summary")[0].text for each in page.find("details")]
    assert "Scores per class, means over seeds (77 rows)" in folded


def test_the_page_replaces_an_older_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = helped().write(tmp_path / "run")
    (folder / "report.html").write_text("old", encoding="utf-8")
    before = {path.name for path in folder.iterdir()}
    assert write_report(folder).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert {path.name for path in folder.iterdir()} == before


def test_a_page_that_cannot_be_written_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = helped().write(tmp_path / "run")
    (folder / "report.html").write_text("old", encoding="utf-8")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmdistill.files.os.fsync", full)
    with pytest.raises(MMDistillError, match="The disk is full") as raised:
        write_report(folder)
    assert raised.value.exit_status == 1
    assert (folder / "report.html").read_text(encoding="utf-8") == "old"
    assert not list(folder.glob(".*"))


def test_what_a_control_tells_is_said_beside_the_gain(pages: Any) -> None:
    page, results = pages["several_students"]
    rows = table(page, "Gain over the model beside it").find("tbody")[0].find("tr")
    assert [row.find("td")[0].text for row in rows] == [
        "Baseline (sound)",
        "Student of the control teacher",
        "Baseline of the small pair",
    ]
    section = next(each for each in parse(page).find("section") if each.attributes["id"] == "gain")
    assert results["gains"][1]["verdict"] in section.text
    assert results["gains"][1]["verdict"].startswith("The teacher's other columns helped")
    assert "what the teacher's other columns added" in section.text


def test_rows_that_could_not_be_read_are_listed(pages: Any) -> None:
    cells = table(pages["helped"][0], "Rows that could not be read, the first 1").find("tbody")[0].find("tr")[0]
    assert " ".join(cells.text.split()) == "digits.csv, line 19 sound The file is cut off"


def test_a_metric_that_a_run_has_not_named_is_written_as_people_know_it(tmp_path: Path) -> None:
    run = helped()
    results = run.results()
    results["models"]["student"]["runs"][0]["metrics"]["auroc"] = 0.97
    results["models"]["student"]["runs"][0]["metrics"]["rating/mae"] = 0.4
    run.extra = {"models": results["models"]}
    page = write_report(run.write(tmp_path / "run")).read_text(encoding="utf-8")
    names = [row.find("th")[0].text for row in table(page, "All metrics on the test rows").find("tr")[1:]]
    assert names[-2:] == ["AUROC", "Rating: MAE"]
