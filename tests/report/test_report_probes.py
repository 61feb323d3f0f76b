"""The report shows what each column had learnt, and names the lazy ones."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from fake_runs import FakeRun, Sketch, helped, no_baseline

from mmdistill.report.figures.plot import look
from mmdistill.report.figures.probes import draw_probes
from mmdistill.report.run_folder import RunFolder, read_run_folder
from mmdistill.report.sections import probes
from mmdistill.report.sections.probes import (
    Probed,
    probe_summary,
    probe_table,
    probed_columns,
    probed_models,
    validation_majority,
    why_lazy,
)


def with_probes(folder: Path, run: FakeRun, model: str = "teacher", **best: float) -> RunFolder:
    """A run whose model has probes that end at these scores."""
    path = run.write(folder)
    for file in (path / model).glob("seed-*/history.csv"):
        with file.open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        for number, row in enumerate(rows):
            for column, score in best.items():
                row[f"probe/{column}"] = "0.7"
                seen = row["validation_score"] != ""
                row[f"{column}/validation_score"] = f"{score * (number + 1) / len(rows)}" if seen else ""
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return read_run_folder(path)


def with_alone() -> FakeRun:
    run = helped()
    run.models["teacher-only-sound"] = Sketch("control", 0.85, ["sound"], 400_000, "Teacher only sound", seeds=(0,))
    return run


def test_a_run_without_probes_has_nothing_to_show(tmp_path: Path) -> None:
    run = read_run_folder(helped().write(tmp_path))
    assert probed_models(run) == {}
    assert probe_table(run) is None
    with look():
        assert draw_probes(run) == []


def test_probes_are_no_terms_of_the_loss(tmp_path: Path) -> None:
    run = with_probes(tmp_path, helped(), image=0.9, sound=0.8)
    assert run.histories["teacher"][0].terms() == ["supervised", "total"]


def test_a_column_is_compared_with_the_model_of_it_alone(tmp_path: Path) -> None:
    run = with_probes(tmp_path, with_alone(), image=0.9, sound=0.5)
    image, sound = probed_columns(run)
    assert (image.column, image.alone) == ("image", None)
    assert sound.alone_name == "teacher-only-sound"
    assert sound.score == pytest.approx(0.5)
    assert sound.alone == pytest.approx(0.85, abs=0.03)


def test_any_model_that_learnt_from_targets_alone_will_do(tmp_path: Path) -> None:
    run = with_probes(tmp_path, helped(), image=0.9, sound=0.5)
    assert probed_columns(run)[1].alone_name == "baseline"


def test_a_lazy_column_is_named(tmp_path: Path) -> None:
    said = probe_summary(with_probes(tmp_path, with_alone(), image=0.9, sound=0.5))
    assert "In Teacher (image + sound) the column sound is lazy" in said
    assert "when it is trained alone" in said
    assert "column image" not in said


def test_the_commonest_answer_is_scored_on_the_rows_of_the_probes(tmp_path: Path) -> None:
    run = with_probes(tmp_path, no_baseline(), image=0.9, sound=0.3)
    run.results.majority["accuracy"] = 0.4  # on the test rows
    assert run.results.data is not None
    run.results.data.classes[:] = [
        {"class": "a", "train": 9, "validation": 8, "test": 4},
        {"class": "b", "train": 5, "validation": 2, "test": 6},
    ]
    assert validation_majority(run.results) == 0.8
    assert "0.300 on the validation rows, no more than the 0.800 of always giving" in probe_summary(run)


def test_of_many_lazy_columns_a_few_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_probes(tmp_path, no_baseline(), image=0.9, sound=0.5)
    monkeypatch.setattr(probes, "probed_columns", lambda _: [Probed("teacher", f"c{i}", 0.1, 0.9) for i in range(30)])
    said = probe_summary(run)
    assert "the column c3 is lazy" in said
    assert "column c4" not in said
    assert "26 other columns are lazy too" in said


def test_without_a_lazy_column_that_is_said(tmp_path: Path) -> None:
    said = probe_summary(with_probes(tmp_path, with_alone(), image=0.9, sound=0.84))
    assert said.startswith("No column is lazy")


@pytest.mark.parametrize(
    ("score", "alone", "majority", "higher", "lazy"),
    [
        (0.80, 0.82, 0.17, True, False),
        (0.60, 0.82, 0.17, True, True),
        (0.19, None, 0.17, True, True),
        (0.40, None, 0.17, True, False),
        (0.40, None, None, True, False),
        (2.0, 1.0, None, False, True),
        (1.05, 1.0, None, False, False),
        (1.5, 1.0, 3.0, False, True),
        (1.1, 1.0, 3.0, False, False),
    ],
)
def test_what_is_lazy(score: float, alone: float | None, majority: float | None, higher: bool, lazy: bool) -> None:
    assert bool(why_lazy(Probed("teacher", "sound", score, alone), majority, higher)) is lazy


def test_the_table_has_a_row_a_column_and_the_plot_a_line(tmp_path: Path) -> None:
    run = with_probes(tmp_path, with_alone(), image=0.9, sound=0.5)
    table = probe_table(run)
    assert table is not None
    assert [[cell.text for cell in row.cells][:3] for row in table.rows] == [
        ["Teacher (image + sound)", "image", "0.900"],
        ["Teacher (image + sound)", "sound", "0.500"],
    ]
    with look():
        (plot,) = draw_probes(run)
    assert plot.name == "probes-teacher"
    labels = [text.get_text() for text in plot.figure.axes[0].get_legend().get_texts()]  # type: ignore[union-attr]
    assert labels == ["the model", "image", "sound"]
    assert "sound ends at 0.500 (alone" in plot.text
