"""From Arrow arrays to cells; shared by Parquet, Arrow files and Hugging Face datasets.

Numbers keep their type. Lists of numbers become arrays: ``list<float>`` a (length,) array, ``list<list<float>>`` an
(outer, inner) array where the inner lists are equally long and a list of arrays where they are not; a null inside
such a list is NaN. Dates and times become ISO 8601 text, durations seconds, decimals floats. A dictionary-encoded or
extension column reads like what it stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mmdistill.data.cells import Cell, absent_as_none
from mmdistill.errors import InputError, require

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 16 * 2**20  # decoded at once, so that memory is bounded whatever the size of a cell


def pyarrow(module: str, purpose: str) -> Any:
    """Import pyarrow or one of its modules, or say which extra brings it."""
    return require(module, "train", purpose)


def rows_at_once(batch: int, row_bytes: float) -> int:
    """How many rows of a size are decoded at once: at most `batch` and about `BATCH_BYTES`, at least one."""
    return int(max(1, min(batch, BATCH_BYTES // max(row_bytes, 1.0))))


def checked_names(names: Sequence[str], source: str) -> list[str]:
    """The column names, or an error when two are equal or one is empty."""
    for place, name in enumerate(names):
        if not name.strip():
            raise InputError(f"Column {place + 1} has no name", where=source, fix="Name it")
        if name in names[:place]:
            raise InputError(f"Two columns are named {name!r}", where=source, fix="Rename one of them")
    return list(names)


def selected_rows(
    batch: pa.RecordBatch, start: int, rows: np.ndarray | None, columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Yield (row number, cells) of those rows of a batch that are wanted.

    Args:
        batch: holds `columns`; its first row has the number `start`.
        start: number of its first row.
        rows: sorted, unique row numbers over the whole table; every row when None.
        columns: what to convert.
    """
    if rows is None:
        numbers = range(start, start + batch.num_rows)
    else:
        low, high = np.searchsorted(rows, [start, start + batch.num_rows])
        if low == high:
            return
        numbers = rows[low:high].tolist()
        if len(numbers) < batch.num_rows:
            batch = batch.take(rows[low:high] - start)
    if not columns:
        yield from ((row, {}) for row in numbers)
        return
    for row, cells in zip(numbers, zip(*(cells_of(batch.column(name)) for name in columns), strict=True), strict=True):
        yield row, dict(zip(columns, cells, strict=True))


def cells_of(array: pa.Array) -> list[Cell]:
    """The cells of an Arrow array, absent ones as None."""
    from pyarrow import types

    if hasattr(array, "storage"):
        return cells_of(array.storage)
    kind = array.type
    if types.is_dictionary(kind):
        return cells_of(array.dictionary_decode())
    if types.is_run_end_encoded(kind):
        from pyarrow import compute

        return cells_of(compute.run_end_decode(array))
    if _is_numeric_list(kind):
        return list(_arrays(array))
    cells = array.to_pylist()
    if types.is_duration(kind):
        return [None if cell is None else cell.total_seconds() for cell in cells]
    if types.is_temporal(kind):
        return [None if cell is None else cell.isoformat() for cell in cells]
    if types.is_decimal(kind) or types.is_float16(kind):
        return [None if cell is None else float(cell) for cell in cells]
    return [absent_as_none(cell) for cell in cells]


def _is_plain_list(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_numeric_list(kind: pa.DataType) -> bool:
    from pyarrow import types

    if not _is_plain_list(kind):
        return False
    inner = kind.value_type
    return bool(
        types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner) or _is_numeric_list(inner)
    )


def _arrays(array: pa.Array) -> Iterator[np.ndarray | list[Any] | None]:
    """Yield one array per list, None for a null; views of one shared buffer, so that nothing is copied."""
    from pyarrow import types

    if types.is_fixed_size_list(array.type):
        size = array.type.list_size
        bounds = np.arange(array.offset, array.offset + len(array) + 1) * size
    else:
        bounds = array.offsets.to_numpy()
    low, high = int(bounds[0]), int(bounds[-1])
    inner = array.values.slice(low, high - low)
    missing = array.is_null().to_numpy(zero_copy_only=False)
    bounds = (bounds - low).tolist()
    if _is_plain_list(inner.type):
        nested = list(_arrays(inner))
        for index, absent in enumerate(missing):
            yield None if absent else _stacked(nested[bounds[index] : bounds[index + 1]])
    else:
        values = inner.to_numpy(zero_copy_only=False)
        for index, absent in enumerate(missing):
            yield None if absent else values[bounds[index] : bounds[index + 1]]


def _stacked(parts: list[Any]) -> np.ndarray | list[Any]:
    shapes = {getattr(part, "shape", None) for part in parts}
    return np.stack(parts) if len(shapes) == 1 and None not in shapes else parts
