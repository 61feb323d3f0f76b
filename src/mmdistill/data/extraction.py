"""Extraction of a whole table in one pass: blocks of rows go through a few threads and come back in order.

Decoders (Pillow, libsndfile, tokenizers) work outside Python's global lock, so threads suffice; a bounded number of
blocks of bounded size is under way at a time, whatever the number of rows.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mmdistill.data.cells import Cell
from mmdistill.data.features import Feature, FeatureInfo
from mmdistill.data.modalities.base import ArraySpec, CellError, Modality
from mmdistill.data.row_numbers import stream
from mmdistill.data.table import Table
from mmdistill.errors import MMDistillError

_BLOCK_ROWS = 256
_BLOCK_BYTES = 8_000_000  # of cells that hold their content, and of arrays


@dataclass(frozen=True)
class Job:
    """One feature to extract."""

    feature: Feature
    modality: Modality
    info: FeatureInfo


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of one feature.

    Args:
        present: bool (n,): the row has the modality and could be read.
        arrays: by name: (n, ...), or the elements of all rows one after another for a sequence.
        lengths: int64 (n,), elements per row, when the feature is a sequence.
        bad: (index in the block, why) of rows that could not be read.
    """

    present: np.ndarray
    arrays: dict[str, np.ndarray]
    lengths: np.ndarray | None
    bad: list[tuple[int, CellError]]

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())


def threads() -> int:
    """How many threads extract: the processors of this process, four at most."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, processors)


def extract_table(table: Table, jobs: Sequence[Job]) -> Iterator[tuple[int, dict[str, Block]]]:
    """Extract every row of a table; yields (number of the first row, block by feature name) in order.

    Raises:
        MMDistillError: when a modality fails otherwise than by a `CellError`, naming row and column.
    """
    sources = list(dict.fromkeys(source for job in jobs for source in job.feature.sources))
    waiting: deque[tuple[int, Future[dict[str, Block]]]] = deque()
    size = _BlockSize()
    pool = ThreadPoolExecutor(threads(), thread_name_prefix="mmdistill-extract")
    try:
        for first, rows in _blocks(table, sources, size):
            waiting.append((first, pool.submit(_extract_block, table, jobs, first, rows)))
            if len(waiting) > threads():
                yield size.seen(waiting.popleft())
        while waiting:
            yield size.seen(waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _BlockSize:
    """How many rows a block has: fewer where their arrays are large."""

    def __init__(self) -> None:
        self.rows = 32  # until something is known

    def seen(self, done: tuple[int, Future[dict[str, Block]]]) -> tuple[int, dict[str, Block]]:
        """The result of a block, from which the size of later ones is taken."""
        first, future = done
        blocks = future.result()
        rows = max(1, *(len(block.present) for block in blocks.values()))
        per_row = max(1.0, sum(block.nbytes for block in blocks.values()) / rows)
        self.rows = max(1, min(_BLOCK_ROWS, int(_BLOCK_BYTES / per_row)))
        return first, blocks


def _blocks(table: Table, sources: Sequence[str], size: _BlockSize) -> Iterator[tuple[int, list[dict[str, Cell]]]]:
    rows: list[dict[str, Cell]] = []
    first, held = 0, 0
    for row, cells in stream(table, sources):
        if not rows:
            first = row
        rows.append(cells)
        held += sum(_content(cell) for cell in cells.values())
        if len(rows) >= size.rows or held > _BLOCK_BYTES:
            yield first, rows
            rows, held = [], 0
    if rows:
        yield first, rows


def _content(cell: Cell) -> int:
    """Bytes that a cell holds, roughly."""
    if isinstance(cell, np.ndarray):
        return cell.nbytes
    if isinstance(cell, dict):
        return sum(_content(value) for value in cell.values())
    return len(cell) if isinstance(cell, str | bytes | list) else 0


def _extract_block(table: Table, jobs: Sequence[Job], first: int, rows: Sequence[dict[str, Cell]]) -> dict[str, Block]:
    return {job.feature.name: _extract_feature(table, job, first, rows) for job in jobs}


def _extract_feature(table: Table, job: Job, first: int, rows: Sequence[dict[str, Cell]]) -> Block:
    specs, state = job.info.arrays, job.info.state
    present = np.zeros(len(rows), dtype=np.bool_)
    found: list[dict[str, np.ndarray] | None] = [None] * len(rows)
    bad: list[tuple[int, CellError]] = []
    for index, row in enumerate(rows):
        cells = {source: row[source] for source in job.feature.sources}
        try:
            if not job.modality.absent(cells):
                found[index] = _checked(job.modality.extract(cells, state), specs)
                present[index] = True
        except CellError as error:
            bad.append((index, error))
        except Exception as error:
            raise MMDistillError(
                f"Reading the {job.feature.type} failed ({type(error).__name__}: {error})",
                where=f"{table.where(first + index)}, column {job.feature.column!r}",
                fix="Replace the cell; please report this with the cell if it looks right",
            ) from error
    lengths = None
    if any(spec.sequence for spec in specs.values()):
        lengths = np.array([_length(arrays, specs) for arrays in found], dtype=np.int64)
    return Block(present, {name: _joined(found, name, spec) for name, spec in specs.items()}, lengths, bad)


def _checked(arrays: dict[str, np.ndarray], specs: dict[str, ArraySpec]) -> dict[str, np.ndarray]:
    """The arrays of a row, held against what the modality announced."""
    if arrays.keys() != specs.keys():
        raise TypeError(f"extract gave the arrays {sorted(arrays)}, not {sorted(specs)}")
    for name, spec in specs.items():
        array = arrays[name]
        shape = array.shape[1:] if spec.sequence else array.shape
        if shape != spec.shape or array.dtype != spec.dtype:
            raise TypeError(f"extract gave {name} of shape {array.shape} and type {array.dtype}, not {spec}")
    return arrays


def _length(arrays: dict[str, np.ndarray] | None, specs: dict[str, ArraySpec]) -> int:
    if arrays is None:
        return 0
    lengths = {len(arrays[name]) for name, spec in specs.items() if spec.sequence}
    if len(lengths) > 1:
        raise MMDistillError(f"The sequences of one row differ in length: {sorted(lengths)}")
    return lengths.pop()


def _joined(found: Sequence[dict[str, np.ndarray] | None], name: str, spec: ArraySpec) -> np.ndarray:
    """One array of all rows; zeros where a row has nothing, no element where a row of a sequence has nothing."""
    if spec.sequence:
        parts = [arrays[name] for arrays in found if arrays is not None]
        return np.concatenate(parts) if parts else np.zeros((0, *spec.shape), spec.dtype)
    joined = np.zeros((len(found), *spec.shape), spec.dtype)
    for index, arrays in enumerate(found):
        if arrays is not None:
            joined[index] = arrays[name]
    return joined
