"""One pass over the cells of a table: what is absent, unreadable, long or short, and a hash of every row."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np

from mmdistill.data.cells import Cell, is_media
from mmdistill.data.features import Feature
from mmdistill.data.modalities.base import CellError, Modality, State
from mmdistill.data.modalities.reader import CellReader
from mmdistill.data.row_numbers import stream
from mmdistill.data.table import Table

EXAMPLES = 3
_PROGRESS_ROWS = 500
QUANTILES = (0.0, 0.01, 0.5, 0.99, 1.0)


@dataclass
class ColumnReading:
    """What one pass found in a column of the recipe.

    Args:
        feature: the column with its settings.
        missing: (checked,) whether the row has nothing.
        hashes: (checked,) uint64 of the content, of files that of their bytes; 0 where there is nothing.
        unreadable: how many cells could not be read.
        examples: row and error of the first of them.
        measures: name to one number per readable cell: characters, words, seconds, width, height, length.
        state: what the modality learnt, None when it could not.
    """

    feature: Feature
    missing: np.ndarray
    hashes: np.ndarray
    unreadable: int = 0
    examples: list[tuple[int, CellError]] = field(default_factory=list)
    measures: dict[str, array[float]] = field(default_factory=dict)
    state: State | None = None

    def note(self, row: int, error: CellError) -> None:
        """Count a cell that cannot be read."""
        self.unreadable += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append((row, error))

    def measure(self, name: str, value: float) -> None:
        """Note a size of a readable cell."""
        self.measures.setdefault(name, array("d")).append(value)

    def ranges(self) -> dict[str, dict[str, float]]:
        """Smallest, 1 %, median, 99 % and largest of each measure."""
        names = ("min", "1%", "median", "99%", "max")
        return {
            measure: {
                name: round(float(value), 3)
                for name, value in zip(names, np.quantile(np.asarray(values), QUANTILES), strict=True)
            }
            for measure, values in self.measures.items()
        }


@dataclass
class Reading:
    """What one pass found in the rows.

    Args:
        rows: numbers of the rows that were read.
        columns: by name in the recipe.
        hashes: (checked,) uint64 of all columns of a row, equal for equal rows; 0 where there is nothing.
        empty: (checked,) whether every column of the recipe is absent.
        constant: source columns of which every cell is the same, with that cell as text.
    """

    rows: np.ndarray
    columns: dict[str, ColumnReading]
    hashes: np.ndarray
    empty: np.ndarray
    constant: dict[str, str]


def read_rows(
    table: Table,
    features: list[Feature],
    rows: np.ndarray,
    train: np.ndarray,
    progress: Callable[[int, int], None] | None = None,
) -> Reading:
    """Read the cells of some rows through the modalities.

    Args:
        table: the table.
        features: the columns of the recipe.
        rows: sorted numbers of the rows to read.
        train: sorted numbers of the training rows among them, from which modalities learn.
        progress: called with (rows done, rows in all) now and then.
    """
    reader = CellReader(table.root)
    columns = [_Column(table, feature, reader, len(rows), train) for feature in features]
    sources = list(dict.fromkeys(source for feature in features for source in feature.sources))
    constants = _Constants(sources)
    for position, (row, cells) in enumerate(stream(table, sources, rows)):
        constants.add(cells)
        for column in columns:
            column.read(row, position, {source: cells[source] for source in column.reading.feature.sources})
        if progress is not None and (position + 1) % _PROGRESS_ROWS == 0:
            progress(position + 1, len(rows))
    readings = {column.reading.feature.column: column.reading for column in columns}
    hashes = combined([reading.hashes for reading in readings.values()])
    return Reading(rows, readings, hashes, hashes == 0, constants.found() if len(rows) > 1 else {})


def _fit(table: Table, feature: Feature, modality: Modality, train: np.ndarray) -> State | None:
    """What the modality learns from the training rows, None when it can learn nothing from them."""

    def present() -> Iterator[dict[str, Cell]]:
        for _, cells in stream(table, feature.sources, chosen):
            if not modality.absent(cells):
                yield cells

    chosen = train if modality.fit_rows is None else spread(train, modality.fit_rows)
    try:
        return modality.fit(present())
    except CellError:
        return None  # every cell is unreadable, which reading them one by one will tell


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of some sorted rows, evenly spread over them."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


class _Column:
    """Reads the cells of one column of the recipe."""

    def __init__(self, table: Table, feature: Feature, reader: CellReader, rows: int, train: np.ndarray) -> None:
        self._modality = feature.modality(reader)
        self._files = (
            reader.within(feature.settings.root, feature.settings.max_megabytes) if _in_files(feature) else None
        )
        self.reading = ColumnReading(
            feature,
            missing=np.zeros(rows, dtype=np.bool_),
            hashes=np.zeros(rows, dtype=np.uint64),
            state=_fit(table, feature, self._modality, train),
        )

    def read(self, row: int, position: int, cells: dict[str, Cell]) -> None:
        """Take in the cells of a row."""
        reading = self.reading
        if self._modality.absent(cells):
            reading.missing[position] = True
            return
        reading.hashes[position] = content_hash(list(cells.values()))
        try:
            state = reading.state if reading.state is not None else self._modality.fit(iter([cells]))
            arrays = self._modality.extract(cells, state)
            cell = next(iter(cells.values()))
            file: bytes | None = None
            if self._files is not None and not isinstance(cell, (list, np.ndarray)) and _holds_file(cell):
                file = self._files.read(cell)
                reading.hashes[position] = content_hash([file])
            for name, value in _measures(cell, file, arrays, reading.feature):
                reading.measure(name, value)
        except CellError as error:
            reading.note(row, error)


def _in_files(feature: Feature) -> bool:
    return feature.type in ("image", "audio")


def _holds_file(cell: Cell) -> bool:
    """Whether the cell is a path or the bytes of a file."""
    return isinstance(cell, (str, bytes, bytearray)) or is_media(cell)


def _measures(
    cell: Cell, file: bytes | None, arrays: Mapping[str, np.ndarray], feature: Feature
) -> Iterator[tuple[str, float]]:
    """Sizes of a readable cell, in its own units: before anything is cut, trimmed or resized."""
    if feature.type == "text" and isinstance(cell, str):
        yield "characters", len(cell)
        yield "words", len(cell.split())
        yield "tokens", len(arrays["values"])
    elif feature.type == "audio":
        yield "seconds", _seconds(cell, file, feature.settings.sample_rate)
    elif feature.type == "image" and file is not None:
        from PIL import Image

        with Image.open(BytesIO(file)) as image:  # reads the header only
            yield "width", image.width
            yield "height", image.height
    elif feature.type == "vector" and arrays["values"].ndim > 1:
        yield "length", len(arrays["values"])


def _seconds(cell: Any, file: bytes | None, sample_rate: float) -> float:
    if file is not None:
        import soundfile

        return float(soundfile.info(BytesIO(file)).duration)
    if isinstance(cell, dict):
        return max(np.shape(cell["array"])) / float(cell["sampling_rate"])
    return max(np.shape(cell)) / sample_rate


class _Constants:
    """Finds the source columns of which every cell is the same."""

    def __init__(self, sources: list[str]) -> None:
        self._open = list(sources)
        self._first: dict[str, int] = {}
        self._shown: dict[str, str] = {}

    def add(self, cells: Mapping[str, Cell]) -> None:
        for source in list(self._open):
            code = content_hash([cells[source]])
            if self._first.setdefault(source, code) != code:
                self._open.remove(source)
            elif source not in self._shown:
                self._shown[source] = "" if cells[source] is None else str(cells[source])[:40]

    def found(self) -> dict[str, str]:
        """Each constant column and its value as text."""
        return {source: self._shown[source] for source in self._open}


def combined(columns: list[np.ndarray]) -> np.ndarray:
    """One hash (rows,) of several columns' hashes; 0 where all of them are 0 (absent)."""
    total = np.zeros_like(columns[0])
    for column in columns:
        mixed = (column ^ (column >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        total = (total << np.uint64(7) | total >> np.uint64(57)) ^ mixed  # rotated, so that order matters
    return total


def content_hash(cells: list[Cell]) -> int:
    """A 64-bit hash of the content of some cells; 0 when all of them are absent."""
    if all(cell is None for cell in cells):
        return 0
    state = hashlib.blake2b(digest_size=8)
    for cell in cells:
        _feed(state, cell)
    return int.from_bytes(state.digest(), "big") or 1


def _feed(state: Any, cell: Any) -> None:
    if isinstance(cell, str):
        state.update(b"s" + cell.encode("utf-8", "surrogatepass"))
    elif isinstance(cell, (bytes, bytearray, memoryview)):
        state.update(b"b" + bytes(cell))
    elif isinstance(cell, dict):
        inner = {"bytes": cell["bytes"]} if cell.get("bytes") and cell.keys() <= {"bytes", "path"} else cell
        for key in sorted(inner):
            state.update(b"k" + str(key).encode())
            _feed(state, inner[key])
    elif isinstance(cell, (list, tuple)):
        state.update(b"l%d" % len(cell))
        for part in cell:
            _feed(state, part)
    elif isinstance(cell, np.ndarray):
        state.update(f"a{cell.dtype.str}{cell.shape}".encode() + np.ascontiguousarray(cell).tobytes())
    elif hasattr(cell, "tobytes") and hasattr(cell, "mode"):
        state.update(f"i{cell.mode}{cell.size}".encode() + cell.tobytes())
    else:
        state.update(f"n{cell!r}".encode())
