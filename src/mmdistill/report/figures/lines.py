"""Lines over a training, one a loss term, with a band over the seeds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from mmdistill.report import numbers
from mmdistill.report.figures.palette import LIGHT
from mmdistill.report.figures.plot import Plot, canvas, legend_above, logarithmic_ticks
from mmdistill.report.run_folder import History

BAND = {"alpha": 0.16, "linewidth": 0}
TOTALS = ("loss", "total")
TERM_COLOURS = ("teacher", "peer", "control", "student-2", "student-3", "teacher-2")


def over_training(histories: Mapping[int, History], column: str, axis: str = "epoch") -> pd.DataFrame:
    """`axis`, seed and value of one column, without the lines in which it was not measured."""
    lines = [
        (place, seed, value)
        for seed, history in histories.items()
        for place, value in zip(history.columns.get(axis, []), history.columns.get(column, []), strict=False)
        if math.isfinite(value) and math.isfinite(place)
    ]
    return pd.DataFrame(lines, columns=[axis, "seed", "value"])


def lone(frame: pd.DataFrame, axis: str = "epoch") -> str:
    """A marker for the few points that make no line."""
    return "o" if frame[axis].nunique() < 3 else ""


def seed_range(values: pd.Series[float]) -> tuple[float, float]:
    """Smallest and largest value of the seeds."""
    return float(values.min()), float(values.max())


def last(frame: pd.DataFrame, axis: str = "epoch") -> float:
    """Mean over seeds at the end of the axis."""
    return float(frame[frame[axis] == frame[axis].max()]["value"].mean())


def draw_terms(frames: Mapping[str, pd.DataFrame], axis: str, *, name: str, title: str, label: str) -> Plot:
    """A plot with a line a term, on a logarithmic scale where the values ask for one.

    Args:
        frames: term → what `over_training` gives; not empty.
        axis: column that goes to the right.
        name: of the plot.
        title: of the plot.
        label: of the vertical axis.
    """
    figure, axes = canvas(height=2.9)
    colours = iter(TERM_COLOURS * len(frames))
    for term, frame in frames.items():
        colour = "ink" if term in TOTALS else "muted" if term == "supervised" else next(colours)
        sns.lineplot(
            frame,
            x=axis,
            y="value",
            ax=axes,
            color=LIGHT[colour],
            linewidth=2.0 if term in TOTALS else 1.5,
            marker=lone(frame, axis),
            errorbar=seed_range,
            err_kws=BAND,
            label=term,
        )
    lowest = min(frame["value"].min() for frame in frames.values())
    if lowest > 0 and max(frame["value"].max() for frame in frames.values()) > 3 * lowest:
        axes.set_yscale("log")
        logarithmic_ticks(axes.yaxis, axes.get_ylim(), lambda value: f"{value:.3g}")
    axes.set(xlabel=axis, ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    legend_above(axes, columns=4)
    text = "; ".join(f"{term} ends at {numbers.significant(last(frame, axis))}" for term, frame in frames.items())
    return Plot(name, title, text, figure)


def file_name(name: str) -> str:
    """Letters, digits and hyphens of a name."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-") or "model"
