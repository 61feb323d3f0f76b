"""Streaming cells of a table in which a row's own number can stand for a column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mmdistill.data.cells import Cell
from mmdistill.data.table import Table

ROW = "row"
"""The source that is the row's number, from 0, in a table that has no such column."""


def numbered(table: Table, sources: Sequence[str]) -> bool:
    """Whether `sources` ask for the row's number."""
    return ROW in sources and ROW not in table.columns


def stream(
    table: Table, sources: Sequence[str], rows: np.ndarray | None = None
) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Stream (row, cells of `sources`) in the order of the rows; all rows when `rows` is None."""
    if not numbered(table, sources):
        yield from table.cells(sources, rows, batch=256)
        return
    others = [source for source in sources if source != ROW]
    if others:
        for row, cells in table.cells(others, rows, batch=256):
            yield row, {**cells, ROW: row}
        return
    for row in range(len(table)) if rows is None else rows.tolist():
        yield row, {ROW: row}
