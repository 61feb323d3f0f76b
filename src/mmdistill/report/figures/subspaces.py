"""What the columns of a model share and what each has alone, as points in a plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from mmdistill.report import numbers
from mmdistill.report.figures.lines import file_name
from mmdistill.report.figures.palette import LIGHT
from mmdistill.report.figures.plot import Plot, canvas, legend_above

_COLOURS = ("teacher", "student", "peer", "control", "student-2", "student-3", "muted", "teacher-2")
_MARKERS = {"shared": "o", "private": "^"}


def draw_subspaces(found: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str]) -> list[Plot]:
    """A plot for every model: a colour a column, discs for shared and triangles for private vectors.

    Args:
        found: model → what `mmdistill.evaluation.subspaces.subspaces` gives.
        labels: model → how the report calls it.
    """
    return [_one(model, labels.get(model, model), spaces) for model, spaces in found.items() if spaces["shown"]]


def _one(model: str, label: str, spaces: Mapping[str, Any]) -> Plot:
    figure, axes = canvas(height=3.9)
    for index, column in enumerate(spaces["columns"]):
        colour = LIGHT[_COLOURS[index % len(_COLOURS)]]
        for part, marker in _MARKERS.items():
            points = spaces[part][column]
            axes.scatter(
                [x for x, _ in points],
                [y for _, y in points],
                s=13,
                color=colour,
                marker=marker,
                alpha=0.65,
                linewidth=0,
            )
        axes.scatter([], [], s=22, color=colour, marker="s", linewidth=0, label=column)
    for part, marker in _MARKERS.items():
        axes.scatter([], [], s=22, color=LIGHT["ink"], marker=marker, linewidth=0, label=part)
    _frame(axes, spaces["explained"])
    title = f"What the columns of {label} share, and what each has alone"
    return Plot(f"subspaces-{file_name(model)}", title, _text(label, spaces), figure)


def _frame(axes: Axes, explained: tuple[float, float]) -> None:
    names = (f"component {number + 1}: {numbers.percent(share)} of variance" for number, share in enumerate(explained))
    axes.set(**dict(zip(("xlabel", "ylabel"), names, strict=True)))
    axes.tick_params(labelbottom=False, labelleft=False)
    axes.set_aspect("equal", adjustable="datalim")
    legend_above(axes, columns=4)


def _text(label: str, spaces: Mapping[str, Any]) -> str:
    kinds = {
        "same_row": "shared vectors of two columns in the same row",
        "other_rows": "those of different rows",
        "shared_private": "shared and private vector of a column",
    }
    said = [
        f"{what} {numbers.significant(spaces['cosine'][kind])}"
        for kind, what in kinds.items()
        if spaces["cosine"][kind] is not None
    ]
    shown = f"{label}: {spaces['shown']} of {spaces['rows']} rows, by two principal components"
    return f"{shown}; mean cosines: {', '.join(said)}"
