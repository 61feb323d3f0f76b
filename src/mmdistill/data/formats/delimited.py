"""CSV and TSV (RFC 4180 quoting), plain or gzip, with the standard library only. Every cell is text or None."""

from __future__ import annotations

import csv
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from mmdistill.data.cells import Cell
from mmdistill.data.formats.base import file_digest
from mmdistill.data.formats.text_file import LineNumbers, text_lines
from mmdistill.errors import InputError

_LONGEST_CELL = 2**31 - 1  # characters; the most that every platform's csv module accepts


class Delimited:
    """A table of delimited text.

    Opening reads the file once, so that a ragged or undecodable line is reported before any work is done on the rows
    above it; nothing but the line numbers is kept.

    Args:
        path: the file.
        delimiter: the character between two cells.
        limit: read only so many rows.

    Raises:
        InputError: naming the line, when the file is not such a table.
    """

    def __init__(self, path: Path, delimiter: str, limit: int | None) -> None:
        self.path, self.root, self.source = path, path.parent, str(path)
        self._delimiter = delimiter
        self._lines = LineNumbers()
        self.columns: list[str] = []
        self.rows = 0
        records = self._records()
        line, header = next(records, (1, []))
        self.columns = self._checked_header(header, line)
        for line, _ in records:
            self._lines.add(self.rows, line)
            self.rows += 1
            if self.rows == limit:
                break
        records.close()

    def stream(
        self, columns: Sequence[str], rows: np.ndarray | None, batch: int
    ) -> Iterator[tuple[int, dict[str, Cell]]]:
        """See `Format.stream`."""
        del batch  # lines are read one by one
        places = [(name, self.columns.index(name)) for name in columns]
        wanted = iter(range(self.rows) if rows is None else rows.tolist())
        target = next(wanted, None)
        records = self._records()
        next(records, None)
        for row, (_, record) in enumerate(records):
            if target is None:
                break
            if row == target:
                yield row, {name: record[place] or None for name, place in places}
                target = next(wanted, None)
        records.close()
        if target is not None:
            raise InputError("The file has become shorter while it was in use", where=self.source)

    def where(self, row: int) -> str:
        """File name and line."""
        return f"{self.path.name}, line {self._lines.line(row)}"

    def digest(self) -> str:
        """SHA-256 of the file as it lies on the disk."""
        return file_digest(self.path)

    def _records(self) -> Generator[tuple[int, list[str]], None, None]:
        """Yield (line on which it starts, cells) for the header and every row, leaving out blank lines."""
        csv.field_size_limit(_LONGEST_CELL)
        with text_lines(self.path) as lines:
            reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
            start = 1
            try:
                for record in reader:
                    if record:
                        if self.columns and len(record) != len(self.columns):
                            raise self._ragged(record, start)
                        yield start, record
                    start = reader.line_num + 1
            except csv.Error as error:
                raise InputError(
                    f"The line cannot be read as delimited text ({error})",
                    where=f"{self.path.name}, line {start}",
                    fix='Quote a cell that holds a delimiter, a quote or a line end, and double its quotes: "a ""b"""',
                ) from error

    def _ragged(self, record: list[str], line: int) -> InputError:
        return InputError(
            f"The line has {len(record)} cells, but the header has {len(self.columns)}",
            where=f"{self.path.name}, line {line}",
            fix="Quote cells that hold a delimiter or a line end, and write an empty cell for a missing value",
        )

    def _checked_header(self, header: list[str], line: int) -> list[str]:
        where = f"{self.path.name}, line {line}"
        if not header:
            raise InputError("The table is empty", where=self.path.name, fix="The first line names the columns")
        other = next((mark for mark in (";", "\t", ",") if mark != self._delimiter and mark in header[0]), None)
        if len(header) == 1 and other is not None:
            name = {";": "semicolons", "\t": "tabs", ",": "commas"}[other]
            own = {",": "commas", "\t": "tabs"}[self._delimiter]
            raise InputError(
                f"The header is a single column with {name} in it; the cells of this format are separated by {own}",
                where=where,
                fix="Save the table with commas as .csv or with tabs as .tsv",
            )
        for place, name in enumerate(header, start=1):
            if not name.strip():
                raise InputError(
                    f"Column {place} has no name", where=where, fix="Name it (pandas: `to_csv(…, index=False)`)"
                )
            if name in header[: place - 1]:
                raise InputError(f"Two columns are named {name!r}", where=where, fix="Rename one of them")
        return header
