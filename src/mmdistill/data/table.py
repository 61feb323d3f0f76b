"""A table: named columns, a known number of rows, and cells that are streamed in row order.

A table never holds its rows in memory. Two ways lead to its cells, and they differ in one point: `Table.cells` is for
what models read, where the floating-point number NaN says "no number" and comes as None like every absent cell;
`Table.column` is for targets, split and group columns, where NaN stays NaN, so that a task can refuse it while an
empty cell means "not labelled".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from mmdistill.data.cells import Cell, is_nan
from mmdistill.data.formats.base import Format
from mmdistill.data.formats.memory import InMemory
from mmdistill.data.formats.opening import open_format
from mmdistill.errors import InputError, nearest


class Table:
    """Rows of a file, a folder or a dataset; made by `read_table` or `Table.of`.

    Attributes:
        columns: names, in the order of the source.
        root: folder that relative paths in the cells start from.
        source: how messages name the table.
        name: what `read_table` was given, which a recipe's `data.table` may say again.
    """

    def __init__(self, content: Format, *, name: str = "", limited: bool = False) -> None:
        self._content = content
        self._limited = limited
        self.columns: list[str] = list(content.columns)
        self.root: Path = content.root
        self.source: str = content.source
        self.name: str = name or content.source
        if content.rows == 0:
            raise InputError("The table has no rows", where=self.source, fix="Give it at least one row")

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[Cell]], root: str | Path | None = None) -> Table:
        """A table of columns that are in memory.

        Args:
            columns: name to cells, all of one length.
            root: folder that relative paths start from; the working folder when None.

        Raises:
            InputError: when the columns differ in length or are empty.
        """
        return cls(InMemory(columns, None if root is None else Path(root)))

    def __len__(self) -> int:
        return self._content.rows

    def __repr__(self) -> str:
        return f"Table({self.source!r}, {len(self)} rows, columns {self.columns})"

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the content: file bytes; for a folder names, sizes and modification times.

        A table that was read with a `limit` has a digest of its own.
        """
        digest = self._content.digest()
        return hashlib.sha256(f"{digest} first {len(self)}".encode()).hexdigest() if self._limited else digest

    def require(self, *columns: str, where: str = "") -> None:
        """Check that columns exist.

        Args:
            columns: names.
            where: what asks for them, such as the key of a recipe; the table's own name when empty.

        Raises:
            InputError: naming the nearest column.
        """
        for name in columns:
            if name not in self.columns:
                raise InputError(
                    f"The table {self.source!r} has no column {name!r}", where=where, fix=nearest(name, self.columns)
                )

    def column(self, name: str) -> list[Cell]:
        """A light column (targets, splits, groups) in memory; NaN stays NaN, other absent cells are None.

        Raises:
            InputError: when there is no such column.
        """
        self.require(name)
        return [cells[name] for _, cells in self._content.stream([name], None, batch=8192)]

    def cells(
        self, columns: Sequence[str], rows: np.ndarray | Sequence[int] | None = None, batch: int = 1024
    ) -> Iterator[tuple[int, dict[str, Cell]]]:
        """Stream (row number, cells of `columns`), in the order of the rows; absent cells and NaN come as None.

        Args:
            columns: names; only these are decoded.
            rows: numbers of the rows wanted, in any order; every row when None.
            batch: most rows that are decoded at once. Fewer are where cells are large.

        Raises:
            InputError: when a column does not exist, a row number is out of range, or the source cannot be read.
        """
        self.require(*columns)
        return self._stream(list(dict.fromkeys(columns)), self._selection(rows), batch)

    def where(self, row: int) -> str:
        """How to find a row in the source: ``reviews.csv, line 12``. Lines count from 1, rows from 0."""
        return self._content.where(row)

    def _selection(self, rows: np.ndarray | Sequence[int] | None) -> np.ndarray | None:
        if rows is None:
            return None
        numbers = np.unique(np.asarray(rows, dtype=np.int64))
        if len(numbers) and (numbers[0] < 0 or numbers[-1] >= len(self)):
            outside = numbers[0] if numbers[0] < 0 else numbers[-1]
            raise InputError(f"There is no row {outside}: the table has {len(self)} rows", where=self.source)
        return numbers

    def _stream(self, columns: list[str], rows: np.ndarray | None, batch: int) -> Iterator[tuple[int, dict[str, Cell]]]:
        for row, cells in self._content.stream(columns, rows, batch):
            for name, cell in cells.items():
                if is_nan(cell):
                    cells[name] = None
            yield row, cells


def read_table(path: str | Path, format: str | None = None, limit: int | None = None) -> Table:
    """Open a table.

    Args:
        path: a CSV, TSV, JSON Lines (each also ``.gz``), Parquet or Arrow file; a folder with one sub-folder per class;
            ``hf://owner/name[/config][:split]``; or the bare name of an embedded sample. A file or folder of the same
            name as a sample is reached with ``./``.
        format: ``csv``, ``tsv``, ``jsonl``, ``parquet``, ``arrow`` or ``folder``; told by the ending when None.
        limit: read only so many rows from the beginning.

    Raises:
        InputError: when it does not exist, is of another kind, is damaged (with the line) or has no rows.
        MissingExtra: when the format needs a package that is not installed.
    """
    if limit is not None and limit < 1:
        raise InputError(f"The limit is {limit}", where=str(path), fix="Read at least one row")
    return Table(open_format(str(path), format, limit), name=str(path), limited=limit is not None)
