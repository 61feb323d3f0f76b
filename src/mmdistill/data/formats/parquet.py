"""Parquet, streamed by record batch so that memory does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmdistill.data.cells import Cell
from mmdistill.data.formats.arrow_cells import checked_names, pyarrow, rows_at_once, selected_rows
from mmdistill.data.formats.base import file_digest
from mmdistill.errors import InputError

_READ_BYTES = 2**20  # a column is read in such pieces; without it pyarrow loads a row group's whole column


class Parquet:
    """A Parquet file.

    Raises:
        InputError: when the file is not Parquet, is damaged, or has columns of equal names.
        MissingExtra: when pyarrow is not installed.
    """

    def __init__(self, path: Path, limit: int | None) -> None:
        self.path, self.root, self.source = path, path.parent, str(path)
        with self._reading():
            file = self._open()
            self.columns = checked_names(file.schema_arrow.names, self.source)
            self.rows = file.metadata.num_rows if limit is None else min(limit, file.metadata.num_rows)
            file.close()

    def stream(
        self, columns: Sequence[str], rows: np.ndarray | None, batch: int
    ) -> Iterator[tuple[int, dict[str, Cell]]]:
        """See `Format.stream`."""
        with self._reading():
            file = self._open()
            if rows is None and self.rows < file.metadata.num_rows:
                rows = np.arange(self.rows)
            last = None if rows is None else (int(rows[-1]) if len(rows) else -1)
            start = 0
            for group in range(file.num_row_groups):
                if last is not None and start > last:
                    break
                metadata = file.metadata.row_group(group)
                end = start + metadata.num_rows
                if rows is None or np.searchsorted(rows, start) < np.searchsorted(rows, end):
                    size = rows_at_once(batch, _row_bytes(metadata, columns))
                    for part in file.iter_batches(size, row_groups=[group], columns=list(columns)):
                        yield from selected_rows(part, start, rows, columns)
                        start += part.num_rows
                        if last is not None and start > last:
                            break
                start = end
            file.close()

    def where(self, row: int) -> str:
        """File name and row number, from 0."""
        return f"{self.path.name}, row {row}"

    def digest(self) -> str:
        """SHA-256 of the file."""
        return file_digest(self.path)

    def _open(self) -> Any:
        module = pyarrow("pyarrow.parquet", "Reading a Parquet file")
        return module.ParquetFile(self.path, buffer_size=_READ_BYTES, pre_buffer=False)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        arrow = pyarrow("pyarrow", "Reading a Parquet file")
        try:
            yield
        except (arrow.ArrowException, OSError) as error:
            raise InputError(
                f"The file cannot be read as Parquet ({error})",
                where=self.source,
                fix="Write it again, or name its real format with the key `format`",
            ) from error


def _row_bytes(metadata: Any, columns: Sequence[str]) -> float:
    """Average decoded size of a row of some columns in a row group."""
    total = 0
    for index in range(metadata.num_columns):
        column = metadata.column(index)
        if any(column.path_in_schema == name or column.path_in_schema.startswith(name + ".") for name in columns):
            total += column.total_uncompressed_size
    return total / max(metadata.num_rows, 1)
