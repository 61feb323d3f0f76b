"""The plots of a diagnosis."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmdistill.report import numbers
from mmdistill.report.diagnosis.tables import LINEAR, Found, metric_label, sources, spaced
from mmdistill.report.figures.palette import LIGHT
from mmdistill.report.figures.plot import Plot, canvas, legend_above, shortened

_LEAST_ROWS = 5
"""Rows that a point of the reliability diagram needs; the accuracy of fewer says nothing."""
_COLOURS = ("teacher", "student", "control", "peer", "student-2", "student-3")


def draw_contributions(found: Found) -> Plot:
    """The Shapley value of every modality with its interval, for linear models and for what was trained."""
    named = sources(found)
    columns = list(found["columns"])
    height = 0.8 / len(named)
    figure, axes = canvas(height=1.1 + (0.3 * len(named) + 0.25) * len(columns))
    text = []
    for number, (name, scored) in enumerate(named.items()):
        colour = LIGHT[colour_of(number, name)]
        for place, column in enumerate(columns):
            value = scored["columns"].get(column, {}).get("shapley")
            if value is None or value["value"] is None:
                continue
            where = place + (number - (len(named) - 1) / 2) * height
            label = name if not any(one.get_label() == name for one in axes.containers) else None
            axes.barh(where, value["value"], height=0.86 * height, color=colour, linewidth=0, label=label)
            if value["ci95"] is not None:
                axes.plot(value["ci95"], [where, where], color=LIGHT["ink"], linewidth=1.2)
            text.append(f"{column}, {name.lower()}: {numbers.signed(value['value'])}")
    axes.axvline(0, color=LIGHT["ink"], linewidth=1.0)
    axes.set_yticks(range(len(columns)), [shortened(column) for column in columns])
    axes.tick_params(axis="y", labelcolor=LIGHT["ink"])
    axes.set_ylim(len(columns) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"Shapley value in {metric_label(found).lower()}, with 95 % interval")
    if len(named) > 1:
        legend_above(axes)
    return Plot("contributions", "What each modality contributes", "; ".join(text), figure)


def draw_labels(found: Found) -> Plot | None:
    """The score of linear models against the number of labels; None where there are too few labels for a line."""
    curves = {name: each["curve"] for name, each in found["label_efficiency"].items() if len(each["curve"]) > 1}
    if not curves:
        return None
    figure, axes = canvas(height=2.9)
    text = []
    for number, (name, points) in enumerate(curves.items()):
        colour = LIGHT[_COLOURS[number % len(_COLOURS)]]
        labels, values = [one["labels"] for one in points], [one["score"]["value"] for one in points]
        axes.plot(labels, values, "o-", color=colour, markersize=4.5, linewidth=1.6, label=spaced(name))
        ends = [one["score"]["ci95"] or (np.nan, np.nan) for one in points]
        low, high = zip(*ends, strict=True)
        axes.fill_between(labels, low, high, color=colour, alpha=0.14, linewidth=0)
        text += [
            f"{spaced(name)} with {count:,}: {numbers.score(value)}"
            for count, value in zip(labels, values, strict=True)
        ]
    axes.set_xscale("log")
    shown = sorted({one["labels"] for points in curves.values() for one in points})
    axes.set_xticks(shown, [numbers.compact(count) for count in shown])
    axes.minorticks_off()
    axes.set(xlabel="labelled training rows", ylabel=f"{metric_label(found).lower()} of a linear model")
    legend_above(axes, columns=2)
    return Plot("labels", "What more labels bring", "; ".join(text), figure)


def draw_reliability(found: Found) -> Plot | None:
    """Confidence against accuracy of every teacher, on labelled training rows and on validation; None without one."""
    if not found["teachers"]:
        return None
    figure, axes = canvas(height=3.4)
    axes.plot([0, 1], [0, 1], color=LIGHT["line"], linewidth=1.2, label="as sure as right")
    text = []
    for number, (name, teacher) in enumerate(found["teachers"].items()):
        colour = LIGHT[_COLOURS[number % len(_COLOURS)]]
        for side, dash in (("train", (0, (4, 1.6))), ("validation", "-")):
            points = [one for one in teacher[side]["bins"] if one["count"] >= _LEAST_ROWS]
            total = sum(one["count"] for one in points)
            confidence, accuracy = ([one[key] for one in points] for key in ("confidence", "accuracy"))
            axes.plot(confidence, accuracy, color=colour, linewidth=1.4, linestyle=dash, label=f"{name}, {side}")
            sizes = [12 + 140 * one["count"] / total for one in points]
            axes.scatter(confidence, accuracy, s=sizes, color=colour, linewidth=0, alpha=0.8)
            facts = teacher[side]
            text.append(
                f"{name}, {side}: mean confidence {numbers.score(facts['confidence'])}, accuracy "
                f"{numbers.score(facts['accuracy'])}"
            )
    axes.set(xlabel="confidence", ylabel="accuracy of those rows", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    legend_above(axes)
    return Plot("reliability", "Confidence of the teacher; larger points hold more rows", "; ".join(text), figure)


def colour_of(number: int, name: str) -> str:
    """The palette's name of a source's colour."""
    return "baseline" if name == LINEAR else _COLOURS[(number - 1) % len(_COLOURS)]


def draw(found: Found) -> dict[str, list[Plot]]:
    """Section → its plots."""
    drawn: dict[str, list[Any]] = {
        "modalities": [draw_contributions(found)],
        "labels": [draw_labels(found)],
        "teacher": [draw_reliability(found)],
    }
    return {name: [plot for plot in plots if plot is not None] for name, plots in drawn.items()}
