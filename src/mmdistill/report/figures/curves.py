"""How training went: loss terms of every model, and its score on the validation rows."""

from __future__ import annotations

import math

import seaborn as sns
from matplotlib.ticker import MaxNLocator

from mmdistill.report import numbers
from mmdistill.report.figures.lines import (
    BAND,
    TOTALS,
    draw_terms,
    file_name,
    last,
    lone,
    over_training,
    seed_range,
)
from mmdistill.report.figures.palette import styles
from mmdistill.report.figures.plot import Plot, canvas, legend_above, shortened
from mmdistill.report.run_folder import History, RunFolder
from mmdistill.report.sections.teaching import taught
from mmdistill.report.table import arrow


def draw_curves(run: RunFolder) -> list[Plot]:
    """Validation score of all models with a band over seeds, their learning rates, then the losses model by model.

    The terms of models that are taught by several have a section of their own, see `figures.teaching`.
    """
    if not run.histories:
        return []
    ordered = [name for name in run.results.ordered if name in run.histories]
    elsewhere = taught(run)
    drawn = [_validation(run, ordered), _learning_rates(run, ordered)]
    drawn += [_terms(run, name) for name in ordered if name not in elsewhere]
    return [plot for plot in drawn if plot is not None]


def _validation(run: RunFolder, names: list[str]) -> Plot | None:
    metric = run.results.primary_metric
    look = styles(run.results)
    figure, axes = canvas(height=3.3)
    ends = []
    for name in names:
        frame = over_training(run.histories[name], next(iter(run.histories[name].values())).validation(metric))
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
            marker=lone(frame),
            errorbar=seed_range,
            err_kws=BAND,
            label=shortened(run.results.label(name)),
        )
        ends.append(f"{run.results.label(name)} ends at {numbers.score(last(frame))}")
    if not ends:
        return None
    label = f"{run.results.metric_label(metric)} {arrow(run.results.higher(metric))}".strip() + ", validation rows"
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    legend_above(axes, columns=2)
    title = "Validation score while training; the band spans the seeds"
    return Plot("curve-validation", title, "; ".join(ends), figure)


def _terms(run: RunFolder, name: str) -> Plot | None:
    histories = run.histories[name]
    frames = {term: frame for term in _drawn_terms(histories) if not (frame := over_training(histories, term)).empty}
    if not frames:
        return None
    title = f"Training loss of {run.results.label(name)}"
    return draw_terms(frames, "epoch", name=f"curve-loss-{file_name(name)}", title=title, label="training loss")


def _drawn_terms(histories: dict[int, History]) -> list[str]:
    """The total first, then its terms; the total alone when it has a single term."""
    terms = list(dict.fromkeys(term for history in histories.values() for term in history.terms()))
    totals = [term for term in terms if term in TOTALS]
    parts = [term for term in terms if term not in TOTALS]
    return totals if totals and len(parts) == 1 else totals + parts


def _learning_rates(run: RunFolder, names: list[str]) -> Plot | None:
    """One line for all models that are trained at the same learning rates."""
    alike: dict[tuple[tuple[float, float], ...], list[str]] = {}
    for name in names:
        history = next(iter(run.histories[name].values()))
        rates = history.columns.get("learning_rate", [])
        known = tuple(pair for pair in zip(history.epochs, rates, strict=False) if all(map(math.isfinite, pair)))
        if known:
            alike.setdefault(known, []).append(name)
    if not alike:
        return None
    figure, axes = canvas(height=2.4)
    look, text = styles(run.results), []
    for points, models in alike.items():
        style = look[models[0]]
        whose = "all models" if len(alike) == 1 else ", ".join(map(run.results.label, models))
        epochs, values = zip(*points, strict=True)
        line = (0, style.dash) if style.dash else "-"
        axes.plot(epochs, values, color=style.hex, linestyle=line, linewidth=1.7, label=shortened(whose))
        text.append(
            f"{whose}: highest {numbers.significant(max(values))}, at the end {numbers.significant(values[-1])}"
        )
    axes.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    legend_above(axes, columns=2)
    return Plot("curve-learning-rate", "Learning rate", "; ".join(text), figure)
