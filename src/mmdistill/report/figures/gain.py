"""The gain of every student with its interval, and the seeds behind it."""

from __future__ import annotations

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mmdistill.report import numbers
from mmdistill.report.figures.palette import LIGHT, styles
from mmdistill.report.figures.plot import Plot, canvas, shortened
from mmdistill.report.results import Gain, Results
from mmdistill.report.sections.gains import paired, seed_gains, subject

MOST_PAIRS = 12
"""With more students than this, pairs seed by seed are a wall; the intervals show the seeds too."""


def draw_gain(results: Results) -> list[Plot]:
    """Interval, mean and single seeds of every student's gain; beside it the pairs of scores, seed by seed."""
    gains = [gain for gain in results.all_gains if gain.mean is not None]
    if not gains:
        return []
    plots = [_intervals(results, gains)]
    if len(gains) <= MOST_PAIRS and any(paired(results, gain) for gain in gains):
        plots.append(_pairs(results, gains))
    return plots


def _intervals(results: Results, gains: list[Gain]) -> Plot:
    figure, axes = canvas(height=1.35 + 0.62 * len(gains))
    look = styles(results)
    for place, gain in enumerate(gains):
        mean = gain.mean or 0.0
        colour = look[gain.student].hex
        for value in seed_gains(results, gain):
            axes.plot(value, place + 0.24, "o", color=colour, markersize=4.6, alpha=0.5, markeredgewidth=0)
        if gain.interval:
            axes.plot(gain.interval, [place, place], color=colour, linewidth=2.6)
        axes.plot(mean, place, look[gain.student].marker, color=colour, markersize=7.5)
        axes.annotate(
            numbers.signed(mean),
            (mean, place),
            xytext=(0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=9.5,
            fontweight="bold",
        )
    axes.axvline(0, color=LIGHT["ink"], linewidth=1.0)
    axes.set_ylim(len(gains) - 0.45, -0.62)
    named = [[shortened(line) for line in subject(results, gain)] for gain in gains]
    axes.set_yticks(range(len(gains)), [lines[0] for lines in named])
    for place, lines in enumerate(named):
        for line in lines[1:]:
            axes.annotate(
                line,
                (0, place),
                xycoords=axes.get_yaxis_transform(),
                xytext=(-3.5, -10),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=7.5,
                color=LIGHT["muted"],
            )
    axes.tick_params(axis="y", labelcolor=LIGHT["ink"])
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.set_xlabel(f"{results.metric_label(gains[0].metric)}: gain, right of zero is better")
    text = "; ".join(
        f"{results.label(gain.student)}: {numbers.signed(gain.mean)}, interval {numbers.interval(gain.interval)}"
        for gain in gains
    )
    return Plot("gain", "Gain: mean, 95 % interval, and every seed", text, figure)


def _pairs(results: Results, gains: list[Gain]) -> Plot:
    rows = [(gain, *pair) for gain in gains for pair in sorted(paired(results, gain))]
    figure, axes = canvas(height=1.2 + 0.26 * len(rows) + 0.2 * len(gains))
    look = styles(results)
    places, names, previous, place = [], [], None, 0.0
    for gain, seed, student, baseline in rows:
        place += 1.6 if previous not in (None, gain) else 1.0
        previous = gain
        axes.plot([baseline, student], [place, place], color=look[gain.student].hex, linewidth=1.8, alpha=0.45)
        axes.plot(baseline, place, look[gain.baseline].marker, color=look[gain.baseline].hex, markersize=6)
        axes.plot(student, place, look[gain.student].marker, color=look[gain.student].hex, markersize=6.5)
        places.append(place)
        names.append(f"seed {seed}")
    axes.set_yticks(places, names)
    axes.set_ylim(place + 0.7, 0.3)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.08)
    axes.set_xlabel(results.metric_label(gains[0].metric))
    drawn = list(dict.fromkeys(name for gain in gains for name in (gain.baseline, gain.student)))
    handles = [
        Line2D(
            [], [], color=look[name].hex, marker=look[name].marker, linestyle="", label=shortened(results.label(name))
        )
        for name in drawn
    ]
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, handletextpad=0.2, borderaxespad=0.2
    )
    text = "; ".join(
        f"{results.label(gain.student)}, seed {seed}: {numbers.score(baseline)} to {numbers.score(student)}"
        for gain, seed, student, baseline in rows
    )
    return Plot("gain-seeds", "From the model beside it to the student, seed by seed", text, figure)
