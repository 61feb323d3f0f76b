"""Which classes a model takes for which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmdistill.report import numbers
from mmdistill.report.figures.heatmap import draw_shares
from mmdistill.report.figures.palette import styles
from mmdistill.report.figures.plot import Plot, canvas
from mmdistill.report.foremost import key_models
from mmdistill.report.results import Results
from mmdistill.report.sections.classes import confusion


def draw_confusion(results: Results) -> list[Plot]:
    """The row-normalised confusion of teacher, student and baseline, each in the colour of its role."""
    plots = []
    for name in key_models(results):
        found = confusion(results.models[name])
        if found is not None and len(found[0]) > 1:
            role = results.models[name].role
            plots.append(_heatmap(f"confusion-{role}", results.label(name), styles(results)[name].hex, *found))
    return plots


def _heatmap(file: str, label: str, colour: str, classes: list[str], shares: NDArray[np.float64]) -> Plot:
    figure, axes = canvas(height=3.75, width=3.6)
    draw_shares(axes, shares, classes, classes, colour)
    axes.set(xlabel="predicted", ylabel="true")
    return Plot(file, f"Confusion: {label}", _in_words(classes, shares), figure)


def _in_words(classes: list[str], shares: NDArray[np.float64]) -> str:
    """The recall of the worst classes and the commonest confusions."""
    wrong = shares.copy()
    np.fill_diagonal(wrong, 0)
    worst = np.argsort(shares.diagonal())[:3]
    text = "Lowest recall: " + ", ".join(f"{classes[index]} {numbers.score(shares[index, index])}" for index in worst)
    pairs = [np.unravel_index(index, wrong.shape) for index in np.argsort(-wrong, axis=None)[:3]]
    common = [
        f"{classes[row]} taken for {classes[column]} {numbers.score(float(wrong[row, column]))}"
        for row, column in pairs
    ]
    return f"{text}. Commonest confusions: {', '.join(common)}."
