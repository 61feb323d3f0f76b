"""Scores by the modalities that are present."""

from __future__ import annotations

from mmdistill.report import numbers
from mmdistill.report.figures.palette import LIGHT, styles
from mmdistill.report.figures.plot import Plot, canvas, shortened
from mmdistill.report.results import Results
from mmdistill.report.sections.subsets import models_with_subsets, subset_scores


def draw_subsets(results: Results) -> list[Plot]:
    """One bar for every subset of every model of several modalities, the full set in the full colour."""
    names = models_with_subsets(results)
    if not names:
        return []
    metric = results.primary_metric
    scored = {name: subset_scores(results.models[name], metric) for name in names}
    lines = sum(len(scores) for scores in scored.values())
    figure, axes = canvas(height=0.9 + 0.27 * lines + 0.42 * len(names))
    look = styles(results)
    place, places, labels, text = 0.0, [], [], []
    for name, scores in scored.items():
        axes.text(
            0.0,
            place + 0.1,
            shortened(results.label(name), 40),
            transform=axes.get_yaxis_transform(),
            fontweight="bold",
            va="center",
            ha="left",
        )
        full = "+".join(results.models[name].columns)
        for subset, values in scores.items():
            place += 1.0
            axes.barh(
                place, values.mean, height=0.7, color=look[name].hex, alpha=1.0 if subset == full else 0.55, linewidth=0
            )
            if values.std is not None:
                axes.errorbar(values.mean, place, xerr=values.std, color=LIGHT["ink"], elinewidth=1.1, capsize=2)
            offset = (values.std or 0.0, 6)
            axes.annotate(
                numbers.score(values.mean),
                (values.mean + offset[0], place),
                xytext=(offset[1], 0),
                textcoords="offset points",
                va="center",
            )
            places.append(place)
            labels.append(shortened(subset.replace("+", " + "), 30))
            text.append(f"{results.label(name)} with {subset}: {numbers.score(values.mean)}")
        place += 1.6
    axes.set_yticks(places, labels)
    axes.tick_params(axis="y", labelcolor=LIGHT["ink"])
    axes.set_ylim(place - 0.9, -0.6)
    axes.set_xlim(left=0, right=axes.get_xlim()[1] * 1.12)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(results.metric_label(metric))
    return [Plot("subsets", "Score by the modalities that are present", "; ".join(text), figure)]
