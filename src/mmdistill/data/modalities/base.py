"""What a modality is: it turns the cells of one row into arrays, knows when they are absent, and learns its state.

A modality is NumPy and decoders only, so that the same code prepares rows for training and serves a predictor that
has no PyTorch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar

import numpy as np

from mmdistill.catalog import Options
from mmdistill.data.cells import Cell, absent_as_none
from mmdistill.errors import InputError

if TYPE_CHECKING:
    from mmdistill.data.modalities.reader import CellReader

State: TypeAlias = dict[str, Any]
"""What a modality learnt from the training rows; JSON-able."""

Value = TypeVar("Value")


class CellError(InputError):
    """A cell that cannot be used.

    Args:
        reason: what is wrong, a sentence whose subject is the cell: ``is a number (3.5), not a text``.
        fix: what the user can do.

    Attributes:
        reason: as given.
        position: when `Modality.fit` raises: which of the cells it was given is at fault, counted from 0.
    """

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(f"The cell {reason}", fix=fix)
        self.reason = reason
        self.position: int | None = None


@dataclass(frozen=True)
class ArraySpec:
    """Shape and type of one array of a feature.

    Args:
        shape: shape per row, or per element of a sequence.
        dtype: name of a NumPy type, such as ``float32``.
        sequence: the array has a leading length that differs from row to row.
    """

    shape: tuple[int, ...]
    dtype: str
    sequence: bool = False

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON data."""
        return {"shape": list(self.shape), "dtype": self.dtype, "sequence": self.sequence}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> ArraySpec:
        """Back from `to_json`."""
        return cls(tuple(document["shape"]), document["dtype"], document["sequence"])


class ModalityOptions(Options):
    """Base of the extraction settings of a column.

    `reads_files` says that cells may be paths, whose files then belong to the fingerprint of prepared rows.
    """

    reads_files: ClassVar[bool] = False

    def sources(self, column: str, source: str | None) -> tuple[str, ...]:
        """The columns of the table that are read for `column`, whose recipe names `source`."""
        return (source or column,)

    def files(self, root: Path | None) -> tuple[Path, ...]:  # noqa: ARG002 - for settings that name files
        """Files that the settings themselves name, seen from the table's folder; part of the fingerprint."""
        return ()


class Modality(Protocol):
    """Turns the cells of one row (source column → cell) into arrays.

    `fit_rows` bounds how many training rows `fit` is given, spread evenly over them; None means all.
    """

    fit_rows: int | None

    def __init__(self, settings: Any, reader: CellReader) -> None: ...

    def fit(self, cells: Iterator[dict[str, Cell]]) -> State:
        """Learn the state from training rows that are not absent, in one pass and bounded memory.

        Raises:
            CellError: when no row can be used; its `position` is that of the first bad one.
        """
        ...

    def absent(self, cells: dict[str, Cell]) -> bool:
        """Whether the row has nothing for this modality."""
        ...

    def extract(self, cells: dict[str, Cell], state: State) -> dict[str, np.ndarray]:
        """The arrays of a row that is not absent, as `arrays` describes them.

        Raises:
            CellError: when the cell cannot be used.
        """
        ...

    def arrays(self, state: State) -> dict[str, ArraySpec]:
        """What `extract` returns under `state`."""
        ...


def is_absent(cell: Cell) -> bool:
    """Whether a cell holds nothing: None, the empty string, or a Hugging Face mapping with neither bytes nor path."""
    return absent_as_none(cell) is None


def only_cell(cells: dict[str, Cell]) -> Cell:
    """The cell of a modality that reads one source column."""
    (cell,) = cells.values()
    return cell


@contextlib.contextmanager
def naming_file(cell: Cell) -> Iterator[None]:
    """Name the file of a cell that is a path, or has one beside its bytes, in a `CellError` that does not do so yet."""
    try:
        yield
    except CellError as error:
        path = cell.get("path") if isinstance(cell, dict) else cell
        if not isinstance(path, str) or len(path) > 300 or path.lstrip().startswith("[") or repr(path) in error.reason:
            raise
        raise CellError(f"({path!r}) {error.reason}", fix=error.fix) from error


def describe(cell: Cell) -> str:
    """A few words that tell the user what a cell holds."""
    if cell is None:
        return "empty"
    if isinstance(cell, bool):
        return f"a truth value ({cell})"
    if isinstance(cell, int | float | np.number):
        return f"a number ({cell})"
    if isinstance(cell, str):
        return f"a text ({cell if len(cell) <= 40 else cell[:37] + '...'!r})"
    if isinstance(cell, bytes | bytearray | memoryview):
        return f"bytes ({len(cell):,} of them)"
    if isinstance(cell, dict):
        return f"a mapping with the keys {', '.join(map(str, list(cell)[:6])) or '(none)'}"
    if isinstance(cell, list | tuple):
        return f"a list of {len(cell):,} elements"
    if isinstance(cell, np.ndarray):
        return f"an array of shape {cell.shape} and type {cell.dtype}"
    return f"a value of type {type(cell).__name__}"


def readable(cells: Iterable[dict[str, Cell]], read: Callable[[dict[str, Cell]], Value]) -> Iterator[Value]:
    """What `read` makes of each cell, leaving out those it cannot read.

    `fit` uses it: a bad cell is named when its row is prepared, or its row is left out, as the recipe says.

    Raises:
        CellError: at the end, when there were cells and none could be read; the first one's, with its `position`.
    """
    first_error: CellError | None = None
    some = False
    for position, row in enumerate(cells):
        try:
            value = read(row)
        except CellError as error:
            if first_error is None:
                error.position = position
                first_error = error
            continue
        some = True
        yield value
    if first_error is not None and not some:
        raise first_error
