"""Columns that are in memory already: rows made in Python, requests to a predictor, tests."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdistill.data.cells import Cell, absent_as_none
from mmdistill.data.formats.base import text_digest
from mmdistill.errors import InputError


class InMemory:
    """A table of given columns, all of one length.

    Args:
        columns: name to cells.
        root: folder that relative paths start from; the working folder when None.

    Raises:
        InputError: when the columns differ in length.
    """

    source = "rows in memory"

    def __init__(self, columns: Mapping[str, Sequence[Cell]], root: Path | None = None) -> None:
        self._cells = dict(columns)
        self.columns = list(self._cells)
        self.root = Path.cwd() if root is None else root
        lengths = {name: len(cells) for name, cells in self._cells.items()}
        self.rows = next(iter(lengths.values()), 0)
        if len(set(lengths.values())) > 1:
            raise InputError(f"The columns differ in length: {lengths}", fix="Give one cell a row in every column")

    def stream(
        self, columns: Sequence[str], rows: np.ndarray | None, batch: int
    ) -> Iterator[tuple[int, dict[str, Cell]]]:
        """See `Format.stream`."""
        del batch  # nothing is decoded
        for row in range(self.rows) if rows is None else rows.tolist():
            yield row, {name: absent_as_none(self._cells[name][row]) for name in columns}

    def where(self, row: int) -> str:
        """The row's number, from 0."""
        return f"row {row}"

    def digest(self) -> str:
        """SHA-256 of every cell's content."""
        names = [json.dumps(name) for name in self.columns]
        return text_digest([*names, *(_content(cell) for cells in self._cells.values() for cell in cells)])


def _content(cell: Any) -> str:
    """A text that is equal for equal cells and different for different ones."""
    if isinstance(cell, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_content(value)}" for key, value in sorted(cell.items())) + "}"
    if isinstance(cell, (list, tuple)):
        return "[" + ",".join(map(_content, cell)) + "]"
    if isinstance(cell, np.ndarray):
        return f"array {cell.dtype.str} {cell.shape} {np.ascontiguousarray(cell).tobytes().hex()}"
    if hasattr(cell, "tobytes") and hasattr(cell, "mode"):  # a Pillow image, not imported for this alone
        return f"image {cell.mode} {cell.size} {cell.tobytes().hex()}"
    return f"{type(cell).__name__} {cell!r}"
