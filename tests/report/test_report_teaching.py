"""The report says which loss term taught the student, and which did not."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import helped

from mmdistill.report.figures.curves import draw_curves
from mmdistill.report.figures.plot import look
from mmdistill.report.figures.teaching import draw_teaching
from mmdistill.report.run_folder import History, RunFolder, read_run_folder
from mmdistill.report.sections.teaching import gradient_shares, taught, teaching_summary, teaching_table


def run_with(kd_gradient: float, folder: Path) -> RunFolder:
    run = helped()
    run.kd_gradient = kd_gradient
    return read_run_folder(run.write(folder))


def history(**norms: list[float]) -> History:
    return History({f"{term}/gradient_norm": values for term, values in norms.items()})


def test_shares_are_of_the_sum_of_the_norms() -> None:
    nan = float("nan")
    first = history(supervised=[3.0, nan, 1.0], kd=[1.0, nan, 1.0])
    second = history(supervised=[0.0], kd=[2.0])
    shares = gradient_shares({0: first, 1: second}, ["supervised", "kd"])
    kd = shares["kd"]
    assert kd is not None
    assert (kd.lowest, kd.mean, kd.highest) == pytest.approx((0.25, 1.75 / 3, 1))


def test_what_was_not_measured_has_no_share() -> None:
    assert gradient_shares({0: history(supervised=[float("nan")], kd=[float("nan")])}, ["supervised", "kd"]) == {
        "supervised": None,
        "kd": None,
    }


def test_only_models_with_several_terms_are_taught(tmp_path: Path) -> None:
    assert taught(run_with(0.5, tmp_path)) == {"student": ["supervised", "kd"]}


@pytest.mark.parametrize(
    ("kd_gradient", "said"),
    [
        (0.5, "Every term had its share of the gradient"),
        (0.004, "For Student (sound) the term kd was dead: it never had more than 0.4 % of the gradient."),
        (0.0, "For Student (sound) the term kd had no gradient whenever that was measured"),
        (40.0, "For Student (sound) the term kd had 97.6 % of the gradient: the others hardly counted."),
    ],
)
def test_a_dead_or_a_dominating_term_is_named(tmp_path: Path, kd_gradient: float, said: str) -> None:
    assert said in teaching_summary(run_with(kd_gradient, tmp_path))


def test_the_table_has_a_row_a_term(tmp_path: Path) -> None:
    table = teaching_table(run_with(3.0, tmp_path))
    assert table is not None
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["Student (sound)", "supervised", "25.0 %", "25.0 %", "25.0 %"],
        ["Student (sound)", "kd", "75.0 %", "75.0 %", "75.0 %"],
    ]


def test_the_terms_of_a_student_are_drawn_once(tmp_path: Path) -> None:
    run = run_with(0.5, tmp_path)
    with look():
        names = [plot.name for plot in (*draw_curves(run), *draw_teaching(run))]
    assert names == [
        "curve-validation", "curve-learning-rate", "curve-loss-teacher", "curve-loss-baseline",
        "terms-student", "term-gradients-student",
    ]  # fmt: skip
    assert len(set(names)) == len(names)


def test_a_run_from_before_gradients_were_measured_is_drawn_as_it_was(tmp_path: Path) -> None:
    run = run_with(0.5, tmp_path)
    for seeds in run.histories.values():
        for one in seeds.values():
            for column in [name for name in one.columns if name.endswith("/gradient_norm")]:
                del one.columns[column]
    assert taught(run) == {} and teaching_table(run) is None
    with look():
        assert "curve-loss-student" in [plot.name for plot in draw_curves(run)]
