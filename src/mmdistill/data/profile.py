"""What kind of thing each column of a table holds, told from a sample of its cells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mmdistill.data.cells import Cell, is_media
from mmdistill.data.checks.determination import as_category, as_number
from mmdistill.data.checks.rows import content_hash, spread
from mmdistill.data.split_names import split_name
from mmdistill.data.table import Table

SAMPLE_ROWS = 5_000
MOSTLY = 0.9
SHAPES = 200  # arrays whose shape is looked at
Kind = Literal[
    "image",
    "audio",
    "vector",
    "text",
    "category",
    "number",
    "mixed",
    "split",
    "identifier",
    "constant",
    "empty",
    "other",
]

_ENDINGS: dict[Kind, tuple[str, ...]] = {
    "image": (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"),
    "audio": (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au"),
    "vector": (".npy", ".npz"),
}
_MAGIC: tuple[tuple[Kind, re.Pattern[bytes]], ...] = (
    ("image", re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8|BM|II\*\0|MM\0\*|RIFF....WEBP|P[1-6]\s|\0\0\0\x0cjP", re.DOTALL)),
    ("audio", re.compile(rb"RIFF....WAVE|fLaC|OggS|ID3|\xff[\xfb\xf3\xf2]|FORM....AIF|\.snd", re.DOTALL)),
    ("vector", re.compile(rb"\x93NUMPY|PK\x03\x04")),
)
_IDENTIFIER = re.compile(r"(^|[_\W])(id|ids|uid|uuid|guid|index|idx|key|isbn\d*|row)$|[a-z]I[dD]$", re.IGNORECASE)


@dataclass(frozen=True)
class ColumnProfile:
    """A column as a sample of its cells shows it.

    Args:
        name: of the column.
        kind: what it holds.
        cells: the sample, absent cells as None.
        filled: how many of them are not absent.
        distinct: how many different ones there are among those.
        words: mean number of words, 0 for what is no text.
    """

    name: str
    kind: Kind
    cells: list[Cell]
    filled: int
    distinct: int
    words: float

    @property
    def missing(self) -> bool:
        """Whether some sampled cell is absent."""
        return self.filled < len(self.cells)


def profile_columns(table: Table) -> dict[str, ColumnProfile]:
    """A profile of each column, from the same rows, evenly spread over the table."""
    rows = spread(np.arange(len(table)), SAMPLE_ROWS)
    columns: dict[str, list[Cell]] = {name: [] for name in table.columns}
    for _, cells in table.cells(table.columns, rows):
        for name, cell in cells.items():
            columns[name].append(_light(cell))
    return {name: profile_column(name, cells, len(table)) for name, cells in columns.items()}


def profile_column(name: str, cells: list[Cell], rows: int) -> ColumnProfile:
    """Tell what a column holds.

    Args:
        name: its name, which is asked only where cells leave it open whether numbers are identifiers.
        cells: a sample.
        rows: rows of the whole table.
    """
    filled = [cell for cell in cells if cell is not None]
    distinct = len({content_hash([cell]) for cell in filled})
    words = float(np.mean([len(cell.split()) for cell in filled if isinstance(cell, str)] or [0]))
    kind = _kind(name, filled, distinct, words, rows) if filled else "empty"
    return ColumnProfile(name, kind, cells, len(filled), distinct, words)


def _light(cell: Cell) -> Cell:
    """The cell, with only the beginning of an embedded file and the shape of an array, which tell their kind."""
    if isinstance(cell, bytes):
        return cell[:64]
    if is_media(cell) and isinstance(cell, dict) and cell.get("bytes"):
        return {"bytes": cell["bytes"][:64]}
    if isinstance(cell, np.ndarray) and cell.size:
        return np.broadcast_to(cell.flat[0], cell.shape)  # the shape without the memory
    return cell


def _kind(name: str, filled: list[Any], distinct: int, words: float, rows: int) -> Kind:
    first = filled[0]
    if is_media(first) or isinstance(first, bytes):
        return _kind_of_file(first)
    if isinstance(first, (np.ndarray, list, tuple)):
        return "vector" if all(map(_is_numeric, filled[:SHAPES])) and _one_width(filled[:SHAPES]) else "other"
    if isinstance(first, dict):
        return "audio" if "sampling_rate" in first else "other"
    if not isinstance(first, (str, bool, int, float, np.number)):
        return "image" if hasattr(first, "convert") else "other"
    texts = [cell for cell in filled if isinstance(cell, str)]
    for kind, endings in _ENDINGS.items():
        if len(texts) >= 0.9 * len(filled) and sum(t.lower().endswith(endings) for t in texts) >= 0.9 * len(texts):
            return kind
    if distinct == 1:
        return "constant"
    if {split_name(cell) for cell in filled} >= {"train", "test"} and all(map(split_name, filled)):
        return "split"
    numbers = [number for cell in filled if (number := as_number(cell)) is not None]
    if len(numbers) == len(filled):
        return _kind_of_numbers(name, numbers, distinct, rows)
    if len(numbers) >= MOSTLY * len(filled) and not _IDENTIFIER.search(name):
        return "mixed"
    return _kind_of_texts(filled, distinct, words)


def _kind_of_file(cell: Any) -> Kind:
    data = cell.get("bytes") if isinstance(cell, dict) else cell
    if data:
        return next((kind for kind, magic in _MAGIC if magic.match(data)), "other")
    path = str(cell.get("path") or "").lower()
    return next((kind for kind, endings in _ENDINGS.items() if path.endswith(endings)), "other")


def _kind_of_numbers(name: str, numbers: Sequence[float], distinct: int, rows: int) -> Kind:
    """Numbers, unless they number the rows or the things in them."""
    whole = all(number.is_integer() for number in numbers)
    if whole and _IDENTIFIER.search(name) and distinct > 2:
        return "identifier"
    counts_rows = whole and distinct == len(numbers) > 20 and max(numbers) - min(numbers) == rows - 1
    return "identifier" if counts_rows else "number"


def _kind_of_texts(filled: Sequence[Any], distinct: int, words: float) -> Kind:
    repeated = 1 - distinct / len(filled)
    if words < 1.5:
        few = distinct <= max(20, 0.2 * len(filled)) and repeated > 0
        return "category" if few else "identifier"
    if words < 4 and distinct <= max(20, 0.05 * len(filled)) and repeated > 0:
        return "category"
    return "text"


def _is_numeric(values: Any) -> bool:
    """Whether a cell is a vector or a sequence of vectors."""
    try:
        array = np.asarray(values)
    except ValueError:
        return False  # lists of different lengths
    return array.ndim in (1, 2) and array.size > 0 and array.dtype.kind in "fiub"


def _one_width(values: Sequence[Any]) -> bool:
    return len({np.shape(value)[-1] for value in values}) == 1


def classes_of(profile: ColumnProfile) -> set[str]:
    """The different values of a column as class names."""
    return {name for cell in profile.cells if (name := as_category(cell)) is not None}
