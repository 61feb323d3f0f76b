"""What every format offers to `Table`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from mmdistill.data.cells import Cell


class Format(Protocol):
    """Rows of one source, read in order.

    Attributes:
        columns: names, in the order of the source, without duplicates.
        rows: how many rows are read; a limit is applied already.
        root: folder that relative paths in the cells start from.
        source: how messages name the table.
    """

    columns: list[str]
    rows: int
    root: Path
    source: str

    def stream(
        self, columns: Sequence[str], rows: np.ndarray | None, batch: int
    ) -> Iterator[tuple[int, dict[str, Cell]]]:
        """Yield (row number, cells of `columns`) in row order.

        Args:
            columns: names that exist.
            rows: sorted, unique row numbers below `rows`; every row when None.
            batch: rows decoded at once where the format decodes many.
        """
        ...

    def where(self, row: int) -> str:
        """Name a row the way its source counts: ``reviews.csv, line 12``."""
        ...

    def digest(self) -> str:
        """SHA-256, in hexadecimal, of the source's whole content."""
        ...


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(lines: Sequence[str]) -> str:
    """SHA-256 of some lines of text, in hexadecimal; lines may hold anything but a line feed."""
    state = hashlib.sha256()
    for line in lines:
        state.update(line.encode("utf-8", "surrogateescape"))
        state.update(b"\n")
    return state.hexdigest()
