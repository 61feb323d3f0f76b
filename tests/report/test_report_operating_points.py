"""The table of operating points: means over seeds, and the intervals of all seeds together."""

from __future__ import annotations

from typing import Any

from fake_runs import helped

from mmdistill.report.reading import parse_results
from mmdistill.report.sections.operating_points import operating_point_summary, operating_point_table


def point(sensitivity: float, low: float | None, threshold: float = 0.4) -> dict[str, Any]:
    return {
        "positive": "ill",
        "threshold": threshold,
        "validation": {"sensitivity": 0.9, "specificity": 0.6},
        "test": {"sensitivity": sensitivity, "specificity": None},
        "test_ci95": {"sensitivity": None if low is None else [low, 1.0], "specificity": None},
    }


def test_seeds_are_put_together_and_what_is_not_defined_is_a_dash() -> None:
    content = helped().results()
    for run, (score, low) in zip(
        content["models"]["student"]["runs"], [(0.8, 0.5), (0.9, 0.6), (1.0, None)], strict=True
    ):
        run["operating_points"] = {"illness": point(score, low)}
    results = parse_results(content)
    table = operating_point_table(results)
    assert table is not None
    (row,) = table.rows
    cells = dict(zip([column.title for column in table.columns], row.cells, strict=False))
    assert (cells["Positive"].text, cells["Threshold"].text) == ("ill", "0.400")
    assert (cells["Sensitivity"].text, cells["Sensitivity"].spread) == ("0.900", "± 0.100")
    assert [cell.text for cell in row.cells][5:6] == ["0.500 to 1.000"]
    assert cells["Specificity"].text == "–"
    assert "never on test rows" in operating_point_summary(results)
    assert "Task" not in cells


def test_several_tasks_are_told_apart() -> None:
    content = helped().results()
    content["models"]["student"]["runs"][0]["operating_points"] = {"one": point(0.8, 0.5), "two": point(0.7, 0.5)}
    table = operating_point_table(parse_results(content))
    assert table is not None
    assert [row.cells[1].text for row in table.rows] == ["one", "two"]


def test_without_an_operating_point_there_is_no_table() -> None:
    results = parse_results(helped().results())
    assert operating_point_table(results) is None
    assert operating_point_summary(results) == ""
