"""Extraction settings that suit the cells of a column: sizes, sample rates, lengths, and where its files are."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from mmdistill.data.cells import Cell
from mmdistill.data.checks.rows import spread
from mmdistill.data.file_roots import find_root
from mmdistill.data.modalities.base import CellError
from mmdistill.data.modalities.reader import CellReader
from mmdistill.data.profile import ColumnProfile
from mmdistill.data.table import Table

FILES = 24  # files that are opened to learn their size
SMALL_SIDE, LONG_SIDE = 64, 128  # pixels
MOST_RATE = 16_000  # samples a second
MOST_SECONDS = 10
MOST_TOKENS = 256


def settings_of(table: Table, profile: ColumnProfile) -> dict[str, Any] | None:
    """Settings for an image, audio, text or vector column; None when its paths lead nowhere."""
    if profile.kind == "text":
        return {"max_length": _text_length(profile.cells)}
    paths = [path for cell in profile.cells if (path := _path(cell))]
    settings: dict[str, Any] = {}
    if paths:
        root = find_root(table.root, paths[:: max(1, len(paths) // FILES)][:FILES])
        if root is None:
            return None
        if root:
            settings["root"] = root
    files = list(_files(table, profile, settings.get("root")))
    if profile.kind == "image":
        settings["size"] = _image_size(files)
    elif profile.kind == "audio":
        settings |= _audio_settings(files)
    elif paths:
        settings |= _array_settings(files[0]) if files else {}
    elif profile.kind == "vector":
        settings["sequence"] = len(np.shape(_first(profile))) == 2
    return settings


def _first(profile: ColumnProfile) -> Any:
    return next(cell for cell in profile.cells if cell is not None)


def _path(cell: Cell) -> str | None:
    if isinstance(cell, dict):
        return None if cell.get("bytes") else cell.get("path")
    return cell if isinstance(cell, str) else None


def _files(table: Table, profile: ColumnProfile, root: str | None) -> Iterator[bytes]:
    """The content of some files of a column, as far as they can be read."""
    reader = CellReader(table.root).within(root)
    filled = [row for row, cell in enumerate(profile.cells) if cell is not None]
    chosen = filled[:: max(1, len(filled) // FILES)][:FILES]
    rows = spread(np.arange(len(table)), len(profile.cells))[chosen]
    for _, cells in table.cells([profile.name], rows):
        cell = cells[profile.name]
        if isinstance(cell, (str, bytes, dict)) and not (isinstance(cell, dict) and "array" in cell):
            try:
                yield reader.read(cell)
            except CellError:
                continue


def _image_size(files: list[bytes]) -> int | list[int]:
    """A square for pictures that are about square, else [height, width] of their proportions; never enlarged."""
    from PIL import Image

    sizes = []
    for data in files:
        try:
            with Image.open(io.BytesIO(data)) as image:
                sizes.append(image.size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
    if not sizes:
        return SMALL_SIDE
    width, height = (max(1, int(side)) for side in np.median(np.array(sizes), axis=0))
    if max(width, height) <= 1.4 * min(width, height):
        return min(SMALL_SIDE, max(width, height))
    scale = min(1.0, LONG_SIDE / max(width, height))
    return [max(1, round(height * scale)), max(1, round(width * scale))]


def _audio_settings(files: list[bytes]) -> dict[str, Any]:
    import soundfile

    infos = []
    for data in files:
        try:
            infos.append(soundfile.info(io.BytesIO(data)))
        except (soundfile.SoundFileError, RuntimeError):
            continue
    if not infos:
        return {"sample_rate": MOST_RATE}
    rate = int(min(MOST_RATE, np.median([info.samplerate for info in infos])))
    longest = max(info.duration for info in infos)
    return {"sample_rate": max(1_000, rate), "max_seconds": min(MOST_SECONDS, max(1, math.ceil(1.25 * longest)))}


def _text_length(cells: list[Cell]) -> int:
    """A multiple of 16 that holds 99 % of the texts, words and punctuation counted."""
    words = [len(cell.split()) for cell in cells if isinstance(cell, str)]
    return int(min(MOST_TOKENS, max(16, 16 * math.ceil(1.3 * float(np.quantile(words, 0.99)) / 16))))


def _array_settings(data: bytes) -> dict[str, Any]:
    """Name of the array where an .npz file holds several, and whether it is a sequence."""
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"sequence": loaded.ndim == 2}
        name = loaded.files[0]
        return {**({"key": name} if len(loaded.files) > 1 else {}), "sequence": loaded[name].ndim == 2}
    except (ValueError, OSError, IndexError, zipfile.BadZipFile):
        return {}
