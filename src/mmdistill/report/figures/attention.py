"""What a model attends to where it joins its columns."""

from __future__ import annotations

import numpy as np

from mmdistill.report import numbers
from mmdistill.report.figures.heatmap import draw_shares
from mmdistill.report.figures.lines import file_name
from mmdistill.report.figures.palette import styles
from mmdistill.report.figures.plot import Plot, canvas
from mmdistill.report.results import AttentionTable, Results
from mmdistill.report.sections.attention import attention, shares
from mmdistill.report.sections.fusions import models_with_a_shown_fusion

_CELL = 0.42
"""Inches of a cell."""


def draw_attention(results: Results) -> list[Plot]:
    """The mean attention of models from queries to keys, each in the model's colour.

    A model whose fusion has no attention has no plot.
    """
    plots = []
    for name in models_with_a_shown_fusion(results):
        table = attention(results.models[name])
        if table is not None:
            plots.append(
                _heatmap(f"attention-{file_name(name)}", results.label(name), styles(results)[name].hex, table)
            )
    return plots


def _heatmap(file: str, label: str, colour: str, table: AttentionTable) -> Plot:
    rows, columns = len(table.queries), len(table.keys)
    figure, axes = canvas(height=min(6.0, 1.3 + _CELL * rows), width=min(5.0, 1.5 + _CELL * columns))
    draw_shares(axes, shares(table), table.queries, table.keys, colour)
    axes.set(xlabel="attended to", ylabel="looking")
    return Plot(file, f"Attention: {label}", _in_words(table), figure)


def _in_words(table: AttentionTable) -> str:
    """Where each query mostly looks."""
    parts = []
    for query, row in zip(table.queries, shares(table), strict=True):
        if np.isnan(row).all():
            parts.append(f"{query} is in no row")
            continue
        largest = [place for place in np.argsort(-row, kind="stable")[:2] if row[place] > 0]
        looks = " and ".join(f"{numbers.score(float(row[place]))} at {table.keys[place]}" for place in largest)
        parts.append(f"{query} looks {looks}")
    return f"Share of attention: {'; '.join(parts)}."
