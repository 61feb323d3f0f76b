"""The picture of shared and private vectors."""

from __future__ import annotations

import numpy as np

from mmdistill.evaluation.subspaces import subspaces
from mmdistill.report.figures.plot import look
from mmdistill.report.figures.subspaces import draw_subspaces
from mmdistill.report.figures.svg import inline_svg, png_file


def found(rows: int = 40, columns: tuple[str, ...] = ("image", "sound & voice")) -> dict[str, object]:
    generator = np.random.default_rng(0)
    shape = (rows, len(columns), 6)
    return subspaces(generator.normal(size=shape), generator.normal(size=shape), columns)


def test_every_model_has_a_plot_with_its_cosines_in_words() -> None:
    with look():
        plots = draw_subspaces({"teacher": found(), "student": found()}, {"teacher": "Teacher"})
        assert [plot.name for plot in plots] == ["subspaces-teacher", "subspaces-student"]
        assert plots[0].title == "What the columns of Teacher share, and what each has alone"
        assert "Teacher: 40 of 40 rows" in plots[0].text
        assert "those of different rows" in plots[0].text
        svg = inline_svg(plots[0])
        assert png_file(plots[0], 50).startswith(b"\x89PNG")
    assert "sound &amp; voice" in svg
    assert "private" in svg


def test_columns_differ_in_colour_and_the_parts_in_their_markers() -> None:
    with look():
        (plot,) = draw_subspaces({"teacher": found()}, {})
    (axes,) = plot.figure.axes
    drawn = [one for one in axes.collections if len(one.get_offsets())]
    assert [len(one.get_offsets()) for one in drawn] == [40] * 4
    colours = {tuple(one.get_facecolor()[0][:3]) for one in drawn}
    shapes = {one.get_paths()[0].vertices.tobytes() for one in drawn}
    assert (len(colours), len(shapes)) == (2, 2)
    assert "var(--teacher)" in inline_svg(plot)


def test_a_model_without_rows_has_none_and_without_pairs_no_cosine_of_them() -> None:
    with look():
        assert draw_subspaces({"teacher": found(rows=0)}, {}) == []
        (plot,) = draw_subspaces({"teacher": found(columns=("image",))}, {})
    assert "different rows" not in plot.text
    assert "shared and private vector of a column" in plot.text
