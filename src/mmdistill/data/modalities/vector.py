"""The vector modality: ready-made features, one vector a row or a sequence of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmdistill.data.cells import Cell, is_media
from mmdistill.data.modalities.base import (
    ArraySpec,
    CellError,
    State,
    describe,
    is_absent,
    naming_file,
    only_cell,
    readable,
)
from mmdistill.data.modalities.catalog import VectorOptions
from mmdistill.data.modalities.moments import Moments
from mmdistill.data.modalities.reader import CellReader
from mmdistill.data.modalities.stored_arrays import RowArrays, from_bytes


class VectorModality:
    """Lists, JSON texts, arrays, .npy files and rows of .npz or .npy files to ``values`` float32: (D,), or (T, D).

    The first training row that can be read says D, and whether rows are sequences where the settings leave it open.
    State: ``dim``, ``sequence``, ``mean`` and ``std`` per dimension.
    """

    fit_rows: int | None = 100_000

    def __init__(self, settings: VectorOptions, reader: CellReader) -> None:
        self.settings = settings
        self.reader = reader.within(settings.root, settings.max_megabytes)
        self._rows: RowArrays | None = None
        if settings.root is not None and settings.root.lower().endswith((".npz", ".npy")) and reader.root is not None:
            file = Path(reader.root) / settings.root
            self._rows = RowArrays(file, settings.key, int(settings.max_megabytes * 1e6))

    def absent(self, cells: dict[str, Cell]) -> bool:
        """Whether there is nothing, or a text of white space."""
        cell = only_cell(cells)
        return is_absent(cell) or (isinstance(cell, str) and cell.isspace())

    def fit(self, cells: Iterator[dict[str, Cell]]) -> State:
        """The shape and the statistics of the dimensions.

        Raises:
            CellError: when no row can be read.
        """
        moments: Moments | None = None
        sequence = False
        for array in readable(cells, self._array):
            if moments is None:
                sequence = array.ndim == 2
                moments = Moments(array.shape[-1])
            if array.shape[-1] == len(moments.mean) and (array.ndim == 2) == sequence:
                moments.update(array.reshape(-1, array.shape[-1]))
        if moments is None:
            raise CellError("is empty in every training row")
        return {"dim": len(moments.mean), "sequence": sequence, **moments.summary()}

    def extract(self, cells: dict[str, Cell], state: State) -> dict[str, np.ndarray]:
        """``values`` float32 (D,), or (T, D) with T at most `max_length`.

        Raises:
            CellError: when the cell is no array of numbers, has another shape than the first training row, or holds NaN
                or infinity.
        """
        array = self._array(cells)
        wanted = 2 if state["sequence"] else 1
        if array.ndim != wanted or array.shape[-1] != state["dim"]:
            expected = f"(length, {state['dim']})" if state["sequence"] else f"({state['dim']},)"
            raise CellError(f"has the shape {array.shape}, not {expected} as the first training row")
        return {"values": array}

    def arrays(self, state: State) -> dict[str, ArraySpec]:
        """``values`` of D numbers, a sequence of them when the rows are sequences."""
        return {"values": ArraySpec((state["dim"],), "float32", sequence=state["sequence"])}

    def _array(self, cells: dict[str, Cell]) -> np.ndarray:
        """The values float32 of one cell, finite, of one or two dimensions as the settings ask."""
        cell = only_cell(cells)
        with naming_file(cell):
            return self._finite(self._load(cell))

    def _finite(self, array: np.ndarray) -> np.ndarray:
        if array.dtype.kind not in "biuf":
            raise CellError(f"is an array of type {array.dtype}, not of numbers")
        if array.ndim not in (1, 2) or array.size == 0:
            raise CellError(f"has the shape {array.shape}, not (D,) or (length, D)")
        if self.settings.sequence != "auto" and (array.ndim == 2) != self.settings.sequence:
            raise CellError(
                f"has the shape {array.shape}, but `sequence` is {str(self.settings.sequence).lower()}",
                fix="Set `sequence` to what the rows are",
            )
        if array.ndim == 2:
            array = array[: self.settings.max_length]
        with np.errstate(over="ignore"):
            values = np.array(array, dtype=np.float32)
        if not np.isfinite(values).all():
            raise CellError("holds NaN or infinity", fix="Leave the cell empty when the features are missing")
        return values

    def _load(self, cell: Cell) -> np.ndarray:
        if isinstance(cell, np.ndarray):
            return cell
        if isinstance(cell, list | tuple):
            return _from_lists(cell)
        if isinstance(cell, str) and cell.lstrip().startswith("["):
            try:
                return _from_lists(json.loads(cell))
            except (ValueError, RecursionError) as error:
                raise CellError(f"is {describe(cell)}, not a list in JSON ({error})") from error
        if self._rows is not None:
            return self._rows.row(_row_number(cell))
        if isinstance(cell, str | bytes | bytearray | memoryview) or is_media(cell):
            return from_bytes(self.reader.read(cell), self.settings.key)
        raise CellError(f"is {describe(cell)}, not a vector", fix="Give a list of numbers, an array, or a .npy file")


def _from_lists(values: object) -> np.ndarray:
    try:
        return np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise CellError("is a nested list whose rows differ in length") from error


def _row_number(cell: Cell) -> int:
    """The row of the array that a cell names: a whole number, or its digits."""
    if isinstance(cell, str) and cell.strip().isascii() and cell.strip().isdigit():
        return int(cell)
    if isinstance(cell, bool) or not isinstance(cell, int | float | np.integer) or not float(cell).is_integer():
        raise CellError(f"is {describe(cell)}, not the number of a row of the array")
    return int(cell)
