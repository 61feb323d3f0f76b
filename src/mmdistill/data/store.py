"""Prepared rows: every feature decoded once into files that are mapped into memory and shared between runs.

A batch is gathered by indexing the map; what is in memory is the page cache, which the system gives back when it is
short, so that the number of rows is bounded by the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mmdistill.data.cache import cache_folder, disk_errors, lock, remove_partial, touch
from mmdistill.data.cells import Cell
from mmdistill.data.extraction import Block, Job, extract_table
from mmdistill.data.feature_files import Damaged, FeatureWriter, Opened, open_feature
from mmdistill.data.features import Feature, FeatureInfo, describe_feature
from mmdistill.data.fingerprint import fingerprints
from mmdistill.data.modalities.base import CellError, Modality, State
from mmdistill.data.modalities.reader import CellReader
from mmdistill.data.row_numbers import ROW, stream
from mmdistill.data.table import Table
from mmdistill.errors import InputError, MMDistillError, nearest

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Told (rows done, rows in all)."""


@dataclass(frozen=True)
class BadCell:
    """A row that was left out because a cell could not be read.

    Args:
        row: number of the row, from 0.
        column: name of the column in the recipe.
        reason: why, a sentence whose subject is the cell.
    """

    row: int
    column: str
    reason: str


class FeatureStore:
    """One feature of all rows, mapped into memory.

    Attributes:
        info: what it holds.
        nbytes: size on disk in bytes.
    """

    def __init__(self, info: FeatureInfo, opened: Opened) -> None:
        self.info = info
        self.nbytes = opened.nbytes
        self._arrays = opened.arrays
        self._offsets = opened.offsets

    def gather(self, rows: Tensor) -> dict[str, Tensor]:
        """The arrays of some rows.

        Args:
            rows: int64 (B,) row numbers of the table, on the CPU, in any order.

        Returns:
            By array name: (B, ...). A sequence is padded with zeros to the longest of the rows, (B, L, ...) with L at
            least 1, and there is ``mask`` bool (B, L), true where there is an element. Absent rows are zero.
        """
        if self._offsets is None:
            return {name: values.index_select(0, rows) for name, values in self._arrays.items()}
        starts = self._offsets.index_select(0, rows)
        lengths = self._offsets.index_select(0, rows + 1) - starts
        longest = max(1, int(lengths.max())) if len(rows) else 1
        steps = torch.arange(longest)
        mask = steps < lengths[:, None]
        places = ((starts[:, None] + steps) * mask).view(-1)
        arrays = {}
        for name, spec in self.info.arrays.items():
            values = self._arrays[name]
            arrays[name] = _padded(values, places, mask) if spec.sequence else values.index_select(0, rows)
        arrays["mask"] = mask
        return arrays


def _padded(values: Tensor, places: Tensor, mask: Tensor) -> Tensor:
    if not len(values):  # no row has an element
        return values.new_zeros((*mask.shape, *values.shape[1:]))
    padded = values.index_select(0, places).view(*mask.shape, *values.shape[1:])
    return padded.masked_fill_(~mask.view(*mask.shape, *[1] * (values.ndim - 1)), 0)


@dataclass(frozen=True)
class PreparedRows:
    """All features of a table.

    Args:
        rows: rows of the table.
        features: by feature name.
        present: by column: bool (rows,), the row has it and it could be read.
        skipped: cells that could not be read, by row and column.
        fingerprint: digest of what the features were made from.
        notes: what the user may want to know, such as a damaged store that was prepared anew.
    """

    rows: int
    features: dict[str, FeatureStore]
    present: dict[str, Tensor]
    skipped: list[BadCell]
    fingerprint: str
    notes: list[str]

    @cached_property
    def usable(self) -> Tensor:
        """The rows without a cell that could not be read: int64, rising."""
        kept = torch.ones(self.rows, dtype=torch.bool)
        kept[torch.tensor([bad.row for bad in self.skipped], dtype=torch.int64)] = False
        return kept.nonzero().flatten()

    @property
    def nbytes(self) -> int:
        """Size of all features on disk."""
        return sum(store.nbytes for store in self.features.values())


def prepare(
    table: Table,
    features: Sequence[Feature],
    train_rows: np.ndarray,
    cache: str | Path | None = None,
    on_error: Literal["raise", "skip"] = "raise",
    progress: Progress | None = None,
) -> PreparedRows:
    """Prepare the features of a table, or open those that the cache has already.

    Those that are missing are prepared together, in one pass over the table after what their statistics need. Two
    processes that want the same wait for one another.

    Args:
        table: the rows.
        features: what is read of them; names are unique.
        train_rows: int64 row numbers that vocabularies and statistics are learnt from.
        cache: the cache folder; see `cache_folder`.
        on_error: raise at the first cell that cannot be read, or skip: leave its row out (`PreparedRows.skipped`).
        progress: told how far it is, while rows are prepared.

    Raises:
        InputError: naming row, column and reason; or when a source column is missing, or nothing can be learnt from.
        MMDistillError: when the cache cannot be written.
    """
    _check(table, features, train_rows)
    folder = cache_folder(cache) / "features"
    prints = fingerprints(table, features, train_rows)
    notes: list[str] = []
    opened = {name: found for name in set(prints.values()) if (found := _open(folder / name)) is not None}
    missing = {prints[feature.name]: feature for feature in features if prints[feature.name] not in opened}
    if missing:
        with _locks(folder.parent, missing):
            for name in list(missing):
                found = _open(folder / name) if (folder / name).exists() else None
                if found is not None:  # another process was faster
                    opened[name] = found
                    del missing[name]
                elif (folder / name).exists():
                    notes.append(_discard(folder, name, missing[name]))
            if missing:
                _prepare_missing(table, missing, train_rows, folder, on_error, progress)
                opened |= {name: open_feature(folder / name) for name in missing}
    for name in opened:
        touch(folder / name)
    return _assembled(table, features, prints, opened, on_error, notes)


def _check(table: Table, features: Sequence[Feature], train_rows: np.ndarray) -> None:
    names = [feature.name for feature in features]
    if len(set(names)) < len(names):
        raise ValueError(f"feature names are not unique: {names}")
    if len(train_rows) and not 0 <= int(np.min(train_rows)) <= int(np.max(train_rows)) < len(table):
        raise ValueError(f"training rows are outside 0 to {len(table) - 1}")
    for feature in features:
        for source in feature.sources:
            if source not in table.columns and source != ROW:
                raise InputError(
                    f"The table {table.source} has no column {source!r}",
                    where=f"data.columns.{feature.column}",
                    fix=nearest(source, list(table.columns)),
                )


def _open(path: Path) -> Opened | None:
    try:
        return open_feature(path)
    except (Damaged, FileNotFoundError):
        return None


@contextlib.contextmanager
def _locks(cache: Path, names: Mapping[str, Feature]) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        for name in sorted(names):  # in one order everywhere, so that no two processes wait for each other
            held.enter_context(lock(cache, name))
        yield


def _discard(folder: Path, name: str, feature: Feature) -> str:
    """Remove a damaged feature; returns a note about it."""
    try:
        open_feature(folder / name)
        reason = "it changed while it was looked at"
    except (Damaged, FileNotFoundError) as error:
        reason = str(error)
    note = f"The prepared {feature.type} of the column {feature.column!r} was damaged ({reason}) and is prepared anew."
    _log.warning(note)
    with disk_errors(folder, "Removing damaged prepared rows"):
        shutil.rmtree(folder / name)
    return note


def _prepare_missing(
    table: Table,
    missing: Mapping[str, Feature],
    train_rows: np.ndarray,
    folder: Path,
    on_error: Literal["raise", "skip"],
    progress: Progress | None,
) -> None:
    reader = CellReader(table.root)
    jobs = [_fitted(table, feature, train_rows, reader) for feature in missing.values()]
    writers: dict[str, FeatureWriter] = {}
    try:
        for name, job in zip(missing, jobs, strict=True):
            remove_partial(folder, name)
            summary = f"{job.feature.type} of {table.source}"
            writers[job.feature.name] = FeatureWriter(folder, name, job.info, summary)
        for first, blocks in extract_table(table, jobs):
            if on_error == "raise":
                _refuse_bad(table, jobs, first, blocks)
            for job in jobs:
                writers[job.feature.name].write(blocks[job.feature.name])
            if progress is not None:
                progress(first + len(next(iter(blocks.values())).present), len(table))
        for writer in writers.values():
            writer.finish()
    except BaseException:  # an interrupt too leaves nothing half-written
        for writer in writers.values():
            writer.abandon()
        raise


def _fitted(table: Table, feature: Feature, train_rows: np.ndarray, reader: CellReader) -> Job:
    """The modality of a feature with what it learns from the training rows, or has learnt elsewhere."""
    where = f"data.columns.{feature.column}"
    try:
        modality = feature.modality(reader)
        state = feature.state
        if state is None:
            state = _learnt(table, feature, modality, train_rows, where)
    except MMDistillError as error:
        if error.where.startswith(where):
            raise
        raise type(error)(error.what, where=f"{where}.{error.where}".rstrip("."), fix=error.fix) from error
    return Job(feature, modality, describe_feature(feature, modality, state))


def _learnt(table: Table, feature: Feature, modality: Modality, train_rows: np.ndarray, where: str) -> State:
    rows = _spread(np.sort(np.asarray(train_rows, dtype=np.int64)), getattr(modality, "fit_rows", None))
    given = array("q")
    cells = _training_cells(table, feature, modality, rows, given)
    first = next(cells, None)
    if first is None:
        sources = ", ".join(map(repr, feature.sources))
        raise InputError(f"Every training row is empty in {sources}", where=where, fix="Leave the column out")
    try:
        return modality.fit(chain([first], cells))
    except CellError as error:
        row = given[error.position or 0]
        what = f"No training row could be read; the first: {table.where(row)}: the cell {error.reason}"
        raise InputError(what, where=where, fix=error.fix) from error


def _spread(rows: np.ndarray, most: int | None) -> np.ndarray:
    """At most `most` of the rows, evenly spread."""
    if most is None or len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def _training_cells(
    table: Table, feature: Feature, modality: Modality, rows: np.ndarray, given: array[int]
) -> Iterator[dict[str, Cell]]:
    """Cells of the training rows that have something; their numbers are noted in `given`."""
    for row, cells in stream(table, feature.sources, rows):
        own = {source: cells[source] for source in feature.sources}
        if not modality.absent(own):
            given.append(row)
            yield own


def _refuse_bad(table: Table, jobs: Sequence[Job], first: int, blocks: Mapping[str, Block]) -> None:
    """Raise for the first row of a block that could not be read, if there is one."""
    bad = [(index, job.feature.column, error) for job in jobs for index, error in blocks[job.feature.name].bad]
    if bad:
        index, column, error = min(bad, key=lambda each: each[0])
        raise _refused(table, first + index, column, error.reason, error.fix) from error


def _refused(table: Table, row: int, column: str, reason: str, fix: str) -> InputError:
    skip = "leave such rows out with `on_error: skip`"
    if not fix:
        fix = f"Correct it, or {skip}"
    elif not fix.endswith("?"):
        fix = f"{fix}, or {skip}"
    return InputError(f"The cell {reason}", where=f"{table.where(row)}, column {column!r}", fix=fix)


def _assembled(
    table: Table,
    features: Sequence[Feature],
    prints: Mapping[str, str],
    opened: Mapping[str, Opened],
    on_error: Literal["raise", "skip"],
    notes: list[str],
) -> PreparedRows:
    stores: dict[str, FeatureStore] = {}
    present: dict[str, Tensor] = {}
    bad: dict[tuple[int, str], tuple[str, str]] = {}
    for feature in features:
        found = opened[prints[feature.name]]
        info = replace(found.info, name=feature.name, column=feature.column)
        stores[feature.name] = FeatureStore(info, found)
        held = present.get(feature.column)
        present[feature.column] = found.present.clone() if held is None else held & found.present
        bad |= {(row, feature.column): (reason, fix) for row, reason, fix in found.bad}
    if bad and on_error == "raise":
        (row, column), (reason, fix) = min(bad.items())
        raise _refused(table, row, column, reason, fix)
    if len({row for row, _ in bad}) == len(table):
        (row, column), (reason, fix) = min(bad.items())
        what = f"No row of the table could be read; the first: the cell {reason}"
        raise InputError(what, where=f"{table.where(row)}, column {column!r}", fix=fix)
    skipped = [BadCell(row, column, reason) for (row, column), (reason, _) in sorted(bad.items())]
    digest = hashlib.sha256("\n".join(f"{name} {prints[name]}" for name in sorted(prints)).encode()).hexdigest()
    return PreparedRows(len(table), stores, present, skipped, digest, notes)
