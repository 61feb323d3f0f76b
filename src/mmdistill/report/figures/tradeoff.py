"""Score against what a model costs: parameters, and time for one row."""

from __future__ import annotations

from matplotlib.axes import Axes

from mmdistill.report import numbers
from mmdistill.report.figures.labels import apart
from mmdistill.report.figures.palette import LIGHT, styles
from mmdistill.report.figures.plot import Plot, canvas, logarithmic_ticks, shortened
from mmdistill.report.results import Results
from mmdistill.report.spread import Spread, spread
from mmdistill.report.table import arrow

MOST_NAMES = 14
"""More points than this are not all named: their names would cover each other."""


def draw_tradeoff(results: Results) -> list[Plot]:
    """Score against parameters and against latency, one point a model, for the costs that at least two models have."""
    size = {name: model.parameters for name, model in results.models.items()}
    latency = {name: model.latency_ms.get("batch_1") for name, model in results.models.items()}
    plots = [
        _scatter(results, size, "tradeoff-size", "Score against size", "parameters"),
        _scatter(results, latency, "tradeoff-latency", "Score against time", "milliseconds for one row"),
    ]
    return [plot for plot in plots if plot is not None]


def _scatter(results: Results, costs: dict[str, float | None], file: str, title: str, unit: str) -> Plot | None:
    metric = results.primary_metric
    points = {
        name: (cost, values)
        for name in results.ordered
        if (cost := costs[name]) and (values := spread(results.models[name].values(metric)))
    }
    if len(points) < 2:
        return None
    figure, axes = canvas(height=3.2)
    look = styles(results)
    for name, (cost, values) in points.items():
        axes.errorbar(
            cost,
            values.mean,
            yerr=values.std,
            fmt=look[name].marker,
            color=look[name].hex,
            markersize=7.5,
            elinewidth=1.4,
            capsize=2.5,
        )
    _log_axis(axes, [cost for cost, _ in points.values()])
    axes.margins(y=0.14)
    _name_points(axes, results, points)
    axes.set(
        xlabel=f"{unit} (logarithmic)", ylabel=f"{results.metric_label(metric)} {arrow(results.higher(metric))}".strip()
    )
    text = "; ".join(
        f"{results.label(name)}: {numbers.score(values.mean)} at {_tick(cost)} {unit}"
        for name, (cost, values) in points.items()
    )
    return Plot(file, title, text, figure)


def worth_naming(results: Results, points: dict[str, tuple[float, Spread]]) -> list[str]:
    """All models where there are few; else the teachers, the baselines and those that none beats in score and cost."""
    if len(points) <= MOST_NAMES:
        return list(points)
    sign = -1.0 if results.higher(results.primary_metric) is False else 1.0
    scores = {name: (cost, sign * values.mean) for name, (cost, values) in points.items()}

    def beaten(name: str) -> bool:
        cost, score = scores[name]
        return any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in scores.values())

    return [name for name in points if results.models[name].role in ("teacher", "baseline") or not beaten(name)]


def _log_axis(axes: Axes, costs: list[float]) -> None:
    """A logarithmic axis with room for names on both sides and ticks that read as numbers."""
    low, high = min(costs), max(costs)
    room = max(3.0, (high / low) ** 0.45)
    axes.set_xscale("log")
    axes.set_xlim(low / room**0.55, high * room**0.9)
    logarithmic_ticks(axes.xaxis, axes.get_xlim(), _tick)


def _tick(value: float) -> str:
    if value < 1000:
        return f"{value:.3g}"
    number, unit = numbers.compact(value).split(" ")
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {unit}"


def _name_points(axes: Axes, results: Results, points: dict[str, tuple[float, Spread]]) -> None:
    """Write each model's name beside its point, moved up or down where names would meet."""
    names = worth_naming(results, points)
    low, high = axes.get_ylim()
    heights = apart([points[name][1].mean for name in names], gap=(high - low) * 0.072)
    middle = (axes.get_xlim()[0] * axes.get_xlim()[1]) ** 0.5
    for name, height in zip(names, heights, strict=True):
        cost, values = points[name]
        left = cost > middle
        axes.annotate(
            shortened(results.label(name)),
            (cost, values.mean),
            xytext=(-9 if left else 9, (height - values.mean) / (high - low) * 165),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            color=LIGHT["ink"],
        )
