"""How training went: loss terms of every model, and its score on the validation rows."""

from __future__ import annotations

import math
import re

import pandas as pd
import seaborn as sns
from matplotlib.ticker import MaxNLocator, NullFormatter

from mmdistill.report import numbers
from mmdistill.report.figures.palette import LIGHT, styles
from mmdistill.report.figures.plot import Plot, canvas, legend_above, shortened
from mmdistill.report.run_folder import History, RunFolder
from mmdistill.report.table import arrow


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
        frame = _long(run.histories[name], f"validation_{metric}")
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
            errorbar=lambda values: (values.min(), values.max()),
            err_kws={"alpha": 0.16, "linewidth": 0},
            label=shortened(run.results.label(name)),
        )
        end = frame[frame["epoch"] == frame["epoch"].max()]["value"].mean()
        last.append(f"{run.results.label(name)} ends at {numbers.score(float(end))}")
    if not last:
        return None
    label = f"validation {run.results.metric_label(metric)} {arrow(run.results.higher(metric))}".strip()
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(axes, columns=2)
    title = "Validation score while training; the band spans the seeds"
    return Plot("curve-validation", title, "; ".join(last), figure)


_TERM_COLOURS = ("ink", "student", "teacher", "control", "peer", "student-2", "student-3")


def _terms(run: RunFolder, name: str) -> Plot | None:
    histories = run.histories[name]
    terms = list(dict.fromkeys(term for history in histories.values() for term in history.terms()))
    terms = [
        *[term for term in terms if term in ("loss", "total")],
        *[term for term in terms if term not in ("loss", "total")],
    ]
    if len(terms) == 2 and terms[0] in ("loss", "total"):
        terms = terms[:1]
    figure, axes = canvas(height=2.9)
    drawn = []
    for place, term in enumerate(terms):
        frame = _long(histories, term)
        if frame.empty:
            continue
        colour = _TERM_COLOURS[place % len(_TERM_COLOURS)]
        sns.lineplot(
            frame,
            x="epoch",
            y="value",
            ax=axes,
            color=LIGHT[colour],
            linewidth=2.0 if term in ("loss", "total") else 1.4,
            errorbar=lambda values: (values.min(), values.max()),
            err_kws={"alpha": 0.16, "linewidth": 0},
            label=term,
        )
        end = frame[frame["epoch"] == frame["epoch"].max()]["value"].mean()
        drawn.append((term, float(end), float(frame["value"].min())))
    if not drawn:
        return None
    if all(lowest > 0 for _, _, lowest in drawn):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: numbers.significant(value))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="epoch", ylabel="training loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_above(axes, columns=4)
    text = "; ".join(f"{term} ends at {numbers.significant(end)}" for term, end, _ in drawn)
    return Plot(f"curve-loss-{_file_name(name)}", f"Training loss of {run.results.label(name)}", text, figure)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-") or "model"
