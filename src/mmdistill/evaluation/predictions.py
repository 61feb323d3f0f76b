"""Predictions of a model on disk: ``predictions.parquet``.

One line a row and subset of modalities: ``row``, ``target`` (null without one), ``split``, ``subset`` and a list of
fixed size for every tap, such as ``logits``. The task's state (class names) stands in the file's
metadata, so that the file is read without anything else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.errors import InputError, MMDistillError
from mmdistill.files import written_aside

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
_KEY = b"mmdistill.predictions"


@dataclass(frozen=True)
class Predictions:
    """What a model says about rows, for one or more subsets of its modalities.

    Attributes:
        row: int64 (N,), row numbers of the table.
        target: (N,) or (N, …) encoded targets.
        labelled: bool (N,), which rows have a target.
        outputs: subset name → tap → (N, …) float array; the same taps for every subset.
        split: (N,) name of each row's split.
        state: the task's state, JSON-able.
        task: name of the task.
    """

    row: NDArray[np.int64]
    target: NDArray[Any]
    labelled: NDArray[np.bool_]
    outputs: Mapping[str, Mapping[str, NDArray[Any]]]
    split: NDArray[np.str_]
    task: str = "classification"
    state: dict[str, Any] = field(default_factory=dict)

    def select(self, split: str) -> Predictions:
        """The predictions of one split."""
        keep = self.split == split
        return Predictions(
            self.row[keep],
            self.target[keep],
            self.labelled[keep],
            {subset: {tap: values[keep] for tap, values in taps.items()} for subset, taps in self.outputs.items()},
            self.split[keep],
            self.task,
            self.state,
        )


def write_predictions(path: Path | str, predictions: Predictions) -> None:
    """Write predictions beside `path` and rename them, so that the file is whole or not there.

    Values are kept as float32.

    Raises:
        MMDistillError: when arrays have different numbers of rows, subsets different taps, or the disk is full.
        InputError: when the folder cannot be written to.
    """
    import pyarrow.parquet as pq

    target = Path(path)
    table = _table(predictions)
    with written_aside(target) as aside:
        pq.write_table(table, aside, compression="zstd")


def read_predictions(path: Path | str) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        InputError: when the file is missing, damaged, or no file of predictions of a known format.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = str(path)
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise InputError("There is no such file", where=where) from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"The file cannot be read as Parquet ({error})", where=where) from error
    meta = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    if meta.get("format") != FORMAT:
        raise InputError(
            f"The file holds no predictions of format {FORMAT}", where=where, fix="Give a predictions.parquet of a run"
        )
    return _predictions(table, meta)


def _table(predictions: Predictions) -> pa.Table:
    import pyarrow as pa

    rows = len(predictions.row)
    names = list(predictions.outputs)
    taps = list(predictions.outputs[names[0]]) if names else []
    shapes = {tap: list(np.shape(predictions.outputs[names[0]][tap])[1:]) for tap in taps}
    for subset, found in predictions.outputs.items():
        for tap in taps:
            if list(found) != taps or np.shape(found[tap]) != (rows, *shapes[tap]):
                raise MMDistillError(f"The outputs of the subset {subset!r} do not match those of {names[0]!r}")
    for name in ("target", "labelled", "split"):
        if len(getattr(predictions, name)) != rows:
            raise MMDistillError(f"There are {rows} rows, but {len(getattr(predictions, name))} of {name}")
    repeats = len(names)
    columns: dict[str, Any] = {
        "row": pa.array(np.tile(np.asarray(predictions.row, dtype=np.int64), repeats)),
        "target": _repeated(_target_column(predictions), repeats),
        "split": pa.array(np.tile(predictions.split.astype(object), repeats), pa.string()).dictionary_encode(),
        "subset": pa.array(np.repeat(np.asarray(names, dtype=object), rows), pa.string()).dictionary_encode(),
    }
    for tap in taps:
        values = [np.asarray(predictions.outputs[name][tap], dtype=np.float32) for name in names]
        columns[tap] = _fixed_lists(np.concatenate(values).reshape(rows * repeats, math.prod(shapes[tap])))
    meta = {
        "format": FORMAT,
        "task": predictions.task,
        "state": predictions.state,
        "subsets": names,
        "shapes": shapes,
        "target_shape": list(np.shape(predictions.target)[1:]),
    }
    return pa.table(columns).replace_schema_metadata({_KEY: json.dumps(meta, allow_nan=False).encode()})


def _fixed_lists(values: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> pa.Array:
    """(N, K) as N lists of K numbers, null where `mask` is true."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(
        flat, values.shape[1], mask=None if mask is None else pa.array(mask, pa.bool_())
    )


def _target_column(predictions: Predictions) -> pa.Array:
    import pyarrow as pa

    target, missing = np.asarray(predictions.target), ~np.asarray(predictions.labelled, dtype=bool)
    if target.ndim == 1:
        return pa.array(target, mask=missing)
    return _fixed_lists(target.reshape(len(target), math.prod(target.shape[1:])), missing)


def _repeated(column: pa.Array, times: int) -> pa.ChunkedArray:
    import pyarrow as pa

    return pa.chunked_array([column] * times, type=column.type)


def _predictions(table: pa.Table, meta: dict[str, Any]) -> Predictions:
    subsets, shapes = meta["subsets"], meta["shapes"]
    rows = len(table) // max(len(subsets), 1)
    first = table.slice(0, rows)
    target = first.column("target").combine_chunks()
    labelled = np.asarray(target.is_valid())
    shape = meta["target_shape"]
    if shape:
        # A null list still holds its numbers, which `flatten` would leave out and so shift all that follow.
        values = target.values.to_numpy(zero_copy_only=False)[target.offset * target.type.list_size :]
        values = values[: rows * target.type.list_size].reshape(rows, *shape)
    else:
        values = target.fill_null(-1).to_numpy(zero_copy_only=False)
    outputs = {}
    for position, subset in enumerate(subsets):
        part = table.slice(position * rows, rows)
        outputs[subset] = {
            tap: part.column(tap).combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(rows, *shapes[tap])
            for tap in shapes
        }
    return Predictions(
        row=first.column("row").to_numpy(),
        target=values,
        labelled=labelled,
        outputs=outputs,
        split=np.asarray(first.column("split").to_pylist(), dtype=np.str_),
        task=meta["task"],
        state=meta["state"],
    )
