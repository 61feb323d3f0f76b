"""Attention in the report: what is read from the results, and its heat map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fake_runs import helped

from mmdistill.report.reading import parse_results
from mmdistill.report.results import Results
from mmdistill.report.sections.attention import attention, shares

QUERIES, KEYS = ["image", "sound", "class"], ["image", "sound", "class", "nothing"]


def table(*rows: list[float | None], queries: list[str] = QUERIES, keys: list[str] = KEYS) -> dict[str, Any]:
    return {"queries": queries, "keys": keys, "shares": list(rows)}


SURE = table([1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0], [0.25, 0.25, 0.25, 0.25])
UNSURE = table([0.5, 0.5, 0.0, 0.0], [None] * 4, [0.25, 0.25, 0.5, 0.0])


def results(*means: dict[str, Any] | None) -> Results:
    """A run whose student has the tables, a seed each."""
    content = helped().results()
    runs = content["models"]["student"]["runs"]
    for run, mean in zip(runs, means, strict=False):
        run["attention"] = None if mean is None else {"layers": {"layers.0.attention": mean}, "mean": mean}
    return parse_results(content)


def test_shares_are_means_over_the_seeds_that_know_them() -> None:
    found = attention(results(SURE, UNSURE).models["student"])
    assert found is not None
    assert (found.queries, found.keys) == (QUERIES, KEYS)
    assert found.shares[0] == [0.75, 0.25, 0.0, 0.0]
    assert found.shares[1] == [0.0, 0.5, 0.5, 0.0]
    assert found.shares[2] == [0.25, 0.25, 0.375, 0.125]


def test_a_share_that_no_seed_knows_stays_missing() -> None:
    found = attention(results(UNSURE).models["student"])
    assert found is not None
    assert found.shares[1] == [None] * 4
    assert np.isnan(shares(found)[1]).all()


def test_a_table_of_another_form_or_with_holes_is_left_out() -> None:
    other = table([1.0, 0.0], queries=["image"], keys=["image", "nothing"])
    cut = table([1.0, 0.0, 0.0, 0.0])
    found = attention(results(SURE, other).models["student"])
    assert found is not None
    assert found.shares == SURE["shares"]
    assert attention(results(cut).models["student"]) is None


def test_models_without_attention_have_none() -> None:
    found = results(None)
    assert attention(found.models["student"]) is None
    assert attention(found.models["baseline"]) is None


def test_the_heat_map_shows_what_was_measured() -> None:
    from mmdistill.report.figures.attention import draw_attention
    from mmdistill.report.figures.plot import look
    from mmdistill.report.figures.svg import png_file, svg_file

    with look():
        (plot,) = draw_attention(results(SURE, SURE))
        assert plot.name == "attention-student"
        (axes,) = plot.figure.axes
        assert [label.get_text() for label in axes.get_yticklabels()] == QUERIES
        assert [label.get_text() for label in axes.get_xticklabels()] == KEYS
        written = [text.get_text() for text in axes.texts]
        assert written == ["1", ".50", ".50", ".25", ".25", ".25", ".25"]
        assert "sound looks 0.500 at sound and 0.500 at class" in plot.text
        assert svg_file(plot).startswith(b"<svg") or b"<svg" in svg_file(plot)
        assert png_file(plot).startswith(b"\x89PNG")


def test_a_query_in_no_row_is_blank_and_said_so() -> None:
    from mmdistill.report.figures.attention import draw_attention
    from mmdistill.report.figures.plot import look

    with look():
        (plot,) = draw_attention(results(UNSURE))
        assert "sound is in no row" in plot.text
        assert len(plot.figure.axes[0].texts) == 5


def test_a_run_without_attention_has_no_plot() -> None:
    from mmdistill.report.figures.attention import draw_attention

    assert draw_attention(results()) == []


@pytest.mark.parametrize("size", [1, 30])
def test_few_and_many_positions_fit(size: int) -> None:
    from mmdistill.report.figures.attention import draw_attention
    from mmdistill.report.figures.plot import look
    from mmdistill.report.figures.svg import png_file

    names = [f"a rather long column {number}" for number in range(size)]
    rows: list[list[float | None]] = [[1 / (size + 1)] * (size + 1) for _ in names]
    with look():
        (plot,) = draw_attention(results(table(*rows, queries=names, keys=[*names, "nothing"])))
        assert png_file(plot).startswith(b"\x89PNG")
