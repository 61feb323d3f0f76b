"""How the rows are spread over the classes."""

from __future__ import annotations

import numpy as np

from mmdistill.report import numbers
from mmdistill.report.figures.palette import LIGHT
from mmdistill.report.figures.plot import Plot, canvas, legend_above, shortened
from mmdistill.report.results import Results
from mmdistill.report.sections.data import SPLITS, class_counts

_COLOURS = {"train": "split-1", "validation": "split-2", "test": "split-3"}
_MOST_NAMES = 30


def draw_balance(results: Results) -> list[Plot]:
    """The share of every class in each split, so that splits of different sizes can be compared."""
    counts = class_counts(results.data) if results.data else []
    splits = [split for split in SPLITS if any(row.get(split) for _, row in counts)]
    if len(counts) < 2 or not splits:
        return []
    many = len(counts) > _MOST_NAMES
    figure, axes = canvas(height=3.0)
    places = np.arange(len(counts), dtype=float)
    width = 0.8 / len(splits)
    text = []
    for index, split in enumerate(splits):
        values = np.array([row.get(split, 0) for _, row in counts], dtype=float)
        shares = values / values.sum()
        offset = (index - (len(splits) - 1) / 2) * width
        axes.bar(places + offset, shares, width=width * 0.9, color=LIGHT[_COLOURS[split]], linewidth=0, label=split)
        text.append(f"{split}: from {numbers.percent(shares.min())} to {numbers.percent(shares.max())}")
    names = ["" if many else shortened(name, 14) for name, _ in counts]
    axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 6 or len(names) > 12 else 0)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("share of the split's rows")
    if many:
        axes.set_xlabel(f"{len(counts)} classes, in their order")
    legend_above(axes)
    return [Plot("balance", "Share of every class in each split", "; ".join(text), figure)]
