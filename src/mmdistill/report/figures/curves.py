"""How training went: loss terms of every model, and its score on the validation rows."""

from __future__ import annotations

import math
import re

import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator

from mmdistill.report import numbers
from mmdistill.report.figures.palette import LIGHT, styles
from mmdistill.report.figures.plot import Plot, canvas, legend_above, logarithmic_ticks, shortened
from mmdistill.report.run_folder import History, RunFolder
from mmdistill.report.table import arrow


def _lone(frame: pd.DataFrame) -> str:
    """A marker for the few points that make no line."""
    return "o" if frame["epoch"].nunique() < 3 else ""


_BAND = {"alpha": 0.16, "linewidth": 0}


def _range(values: pd.Series[float]) -> tuple[float, float]:
    """Smallest and largest value of the seeds."""
    return float(values.min()), float(values.max())


def draw_curves(run: RunFolder) -> list[Plot]:
    """Validation score of all models with a band over seeds, then the loss terms model by model."""
    if not run.histories:
        return []
    ordered = [name for name in run.results.ordered if name in run.histories]
    plots = [plot for plot in [_validation(run, ordered)] if plot is not None]
    return plots + [plot for name in ordered if (plot := _terms(run, name)) is not None]


def _long(histories: dict[int, History], column: str) -> pd.DataFrame:
    """Epoch, seed and value of one column, without the epochs at which it was not measured."""
    lines = [
        (epoch, seed, value)
        for seed, history in histories.items()
        for epoch, value in zip(history.epochs, history.columns.get(column, []), strict=False)
        if math.isfinite(value) and math.isfinite(epoch)
    ]
    return pd.DataFrame(lines, columns=["epoch", "seed", "value"])


def _validation(run: RunFolder, names: list[str]) -> Plot | None:
    metric = run.results.primary_metric
    look = styles(run.results)
    figure, axes = canvas(height=3.3)
    last = []
    for name in names:
        frame = _long(run.histories[name], next(iter(run.histories[name].values())).validation(metric))
        if frame.empty:
            continue
        style = look[name]
        sns.lineplot(
            frame,
            x="epoch",
            y="value",
            ax=axes,
            color=style.hex,
            dashes=False,
            linestyle=(0, style.dash) if style.dash else "-",
            linewidth=1.9,
            marker=_lone(frame),
            errorbar=_range,
            err_kws=_BAND,
            label=shortened(run.results.label(name)),
        )
        last.append(f"{run.results.label(name)} ends at {numbers.score(_end(frame))}")
    if not last:
        return None
    label = f"{run.results.metric_label(metric)} {arrow(run.results.higher(metric))}".strip() + ", validation rows"
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    legend_above(axes, columns=2)
    title = "Validation score while training; the band spans the seeds"
    return Plot("curve-validation", title, "; ".join(last), figure)


_TOTALS = ("loss", "total")
_TERM_COLOURS = ("teacher", "peer", "control", "student-2", "student-3", "teacher-2")


def _terms(run: RunFolder, name: str) -> Plot | None:
    histories = run.histories[name]
    frames = {term: frame for term in _drawn_terms(histories) if not (frame := _long(histories, term)).empty}
    if not frames:
        return None
    figure, axes = canvas(height=2.9)
    colours = iter(_TERM_COLOURS * len(frames))
    for term, frame in frames.items():
        colour = "ink" if term in _TOTALS else "muted" if term == "supervised" else next(colours)
        sns.lineplot(
            frame,
            x="epoch",
            y="value",
            ax=axes,
            color=LIGHT[colour],
            linewidth=2.0 if term in _TOTALS else 1.5,
            marker=_lone(frame),
            errorbar=_range,
            err_kws=_BAND,
            label=term,
        )
    lowest = min(frame["value"].min() for frame in frames.values())
    if lowest > 0 and max(frame["value"].max() for frame in frames.values()) > 3 * lowest:
        axes.set_yscale("log")
        logarithmic_ticks(axes.yaxis, axes.get_ylim(), lambda value: f"{value:.3g}")
    axes.set(xlabel="epoch", ylabel="training loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    legend_above(axes, columns=4)
    text = "; ".join(f"{term} ends at {numbers.significant(_end(frame))}" for term, frame in frames.items())
    return Plot(f"curve-loss-{_file_name(name)}", f"Training loss of {run.results.label(name)}", text, figure)


def _drawn_terms(histories: dict[int, History]) -> list[str]:
    """The total first, then its terms; the total alone when it has a single term."""
    terms = list(dict.fromkeys(term for history in histories.values() for term in history.terms()))
    totals = [term for term in terms if term in _TOTALS]
    parts = [term for term in terms if term not in _TOTALS]
    return totals if totals and len(parts) == 1 else totals + parts


def _end(frame: pd.DataFrame) -> float:
    """Mean over seeds at the last epoch."""
    return float(frame[frame["epoch"] == frame["epoch"].max()]["value"].mean())


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-") or "model"
