"""Arrow IPC, as a file (also called Feather 2) or as a stream (what `datasets` caches), memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmdistill.data.cells import Cell
from mmdistill.data.formats.arrow_cells import checked_names, pyarrow, rows_at_once, selected_rows
from mmdistill.data.formats.base import file_digest
from mmdistill.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_FILE_MAGIC = b"ARROW1"


class ArrowIPC:
    """An Arrow IPC file or stream, told apart by its first bytes.

    Uncompressed record batches stay in the mapped file and are decoded piece by piece; a compressed one is
    decompressed as a whole, so memory is bounded by the largest.

    Raises:
        InputError: when the file is not Arrow, is damaged, or has columns of equal names.
        MissingExtra: when pyarrow is not installed.
    """

    def __init__(self, path: Path, limit: int | None) -> None:
        self.path, self.root, self.source = path, path.parent, str(path)
        with self._reading() as (schema, batches):
            self.columns = checked_names(schema.names, self.source)
            self.rows = 0
            for part in batches:
                self.rows += part.num_rows
                if limit is not None and self.rows >= limit:
                    self.rows = limit
                    break

    def stream(
        self, columns: Sequence[str], rows: np.ndarray | None, batch: int
    ) -> Iterator[tuple[int, dict[str, Cell]]]:
        """See `Format.stream`."""
        last = self.rows - 1 if rows is None else (int(rows[-1]) if len(rows) else -1)
        start = 0
        with self._reading() as (_, batches):
            for whole in batches:
                if start > last:
                    return
                whole = whole.select(list(columns)).slice(0, last + 1 - start)
                size = rows_at_once(batch, whole.nbytes / max(whole.num_rows, 1))
                for offset in range(0, whole.num_rows, size):
                    yield from selected_rows(whole.slice(offset, size), start + offset, rows, columns)
                start += whole.num_rows

    def where(self, row: int) -> str:
        """File name and row number, from 0."""
        return f"{self.path.name}, row {row}"

    def digest(self) -> str:
        """SHA-256 of the file."""
        return file_digest(self.path)

    @contextmanager
    def _reading(self) -> Iterator[tuple[Any, Iterator[pa.RecordBatch]]]:
        arrow = pyarrow("pyarrow", "Reading an Arrow file")
        ipc = pyarrow("pyarrow.ipc", "Reading an Arrow file")
        try:
            with arrow.memory_map(str(self.path)) as mapped:
                if mapped.read(len(_FILE_MAGIC)) == _FILE_MAGIC:
                    file = ipc.open_file(mapped)
                    yield file.schema, (file.get_batch(index) for index in range(file.num_record_batches))
                else:
                    mapped.seek(0)
                    stream = ipc.open_stream(mapped)
                    yield stream.schema, iter(stream)
        except (arrow.ArrowException, OSError) as error:
            raise InputError(
                f"The file cannot be read as Arrow IPC ({error})",
                where=self.source,
                fix="Write it again, or name its real format with the key `format`",
            ) from error
