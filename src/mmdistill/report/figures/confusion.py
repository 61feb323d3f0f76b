"""Which classes a model takes for which."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from numpy.typing import NDArray

from mmdistill.report import numbers
from mmdistill.report.figures.palette import LIGHT, styles
from mmdistill.report.figures.plot import Plot, canvas, shortened
from mmdistill.report.results import Results
from mmdistill.report.sections.classes import confusion

_MOST_NUMBERS = 12
_MOST_NAMES = 40
_HALF, _DARK = 0.72, 0.86
"""Shares above which a cell is so full that the ink no longer reads, in the dark scheme and in both."""


def draw_confusion(results: Results) -> list[Plot]:
    """The row-normalised confusion of teacher, student and baseline, each in the colour of its role."""
    plots = []
    for name in results.key_models:
        found = confusion(results.models[name])
        if found is not None and len(found[0]) > 1:
            role = results.models[name].role
            plots.append(_heatmap(f"confusion-{role}", results.label(name), styles(results)[name].hex, *found))
    return plots


def _heatmap(file: str, label: str, colour: str, classes: list[str], shares: NDArray[np.float64]) -> Plot:
    size = len(classes)
    figure, axes = canvas(height=3.75, width=3.6)
    red, green, blue = to_rgb(colour)
    clear_to_full = LinearSegmentedColormap.from_list(
        "share", [(red, green, blue, 0.0), (red, green, blue, 0.28), (red, green, blue, 1.0)]
    )
    sns.heatmap(shares, ax=axes, cmap=clear_to_full, vmin=0, vmax=1, cbar=False, square=True, rasterized=size > 60)
    if size <= _MOST_NUMBERS:
        _write_shares(axes, shares)
    step = max(1, -(-size // _MOST_NAMES))
    ticks = np.arange(0, size, step)
    names = [shortened(classes[tick], 14) for tick in ticks]
    small = 8.0 if size <= _MOST_NUMBERS else max(4.0, 150 / (size / step) / 1.3)
    axes.set_xticks(
        ticks + 0.5, names, rotation=90 if max(map(len, names)) > 2 or size > 20 else 0, fontsize=min(small, 8)
    )
    axes.set_yticks(ticks + 0.5, names, rotation=0, fontsize=min(small, 8))
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.grid(visible=False)
    axes.set(xlabel="predicted", ylabel="true")
    return Plot(file, f"Confusion: {label}", _in_words(classes, shares), figure)


def _write_shares(axes: Axes, shares: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            colour = LIGHT["on-fill" if share > _DARK else "on-half" if share > _HALF else "ink"]
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{share:.2f}"[1:] if share < 0.995 else "1",
                ha="center",
                va="center",
                color=colour,
                fontsize=7.5,
            )


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
