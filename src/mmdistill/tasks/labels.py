"""Cells of a target column as class labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmdistill.errors import InputError, nearest
from mmdistill.tasks.task import Where


def label(cell: Any, where: str) -> str | None:
    """The class that a cell names, or None when it names none.

    Text keeps its spelling, without blanks around it. Whole numbers lose a trailing ``.0``, so that 3 and 3.0 are one
    class whatever a file format made of it. ``True`` is ``true``.

    Raises:
        InputError: when the cell holds a number that is not finite, or something that is no single label.
    """
    if cell is None:
        return None
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, int | np.integer):
        return str(int(cell))
    if isinstance(cell, float | np.floating):
        number = float(cell)
        if not math.isfinite(number):
            raise InputError(
                f"The target is {number}", where=where, fix="Leave the cell empty when the row has no target"
            )
        return str(int(number)) if number.is_integer() else repr(number)
    raise InputError(
        f"The target is a {type(cell).__name__}, not one class",
        where=where,
        fix="Classification takes one text, number or true/false per row",
    )


def _number(text: str) -> float | None:
    """The value of a text that is written like a number, NaN and infinity included."""
    try:
        return float(text)
    except ValueError:
        return None


def _order(text: str) -> tuple[float, str]:
    return float(text), text


def find_classes(cells: Sequence[Any], train: Sequence[int] | NDArray[np.int64], where: Where) -> dict[str, int]:
    """The classes of the training rows and how many rows each has, in their order.

    Labels that all look like numbers are sorted by value, others as text.

    Raises:
        InputError: when no training row has a target, all have the same, or a number is not finite.
    """
    counts: dict[str, int] = {}
    first: dict[str, int] = {}
    for row in np.asarray(train, dtype=np.int64).tolist():
        name = label(cells[row], where(row))
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
            first.setdefault(name, row)
    if not counts:
        raise InputError("No training row has a target", fix="Check the target column and the split")
    numbers = {name: _number(name) for name in counts}
    finite = [name for name, number in numbers.items() if number is not None and math.isfinite(number)]
    strange = [name for name, number in numbers.items() if number is not None and not math.isfinite(number)]
    if finite and len(finite) + len(strange) == len(counts):
        for name in strange:
            raise InputError(
                f"The target is {name!r}, not a finite number",
                where=where(first[name]),
                fix="Leave the cell empty when the row has no target",
            )
    if len(counts) == 1:
        raise InputError(
            f"All training rows with a target have the same class, {next(iter(counts))!r}",
            fix="A classifier needs two classes or more: check the target column and the split",
        )
    key = _order if len(finite) == len(counts) else None
    return {name: counts[name] for name in sorted(counts, key=key)}


def encode_labels(
    cells: Sequence[Any], classes: Sequence[str], where: Where
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Class indices, −1 for rows without a target, and which rows have one.

    Raises:
        InputError: when a row has a class that no training row has.
    """
    index = {name: position for position, name in enumerate(classes)}
    values = np.full(len(cells), -1, dtype=np.int64)
    for row, cell in enumerate(cells):
        name = label(cell, where(row))
        if name is None:
            continue
        if name not in index:
            raise InputError(
                f"The class {name!r} is in no training row",
                where=where(row),
                fix=f"Correct the label, leave the row out, or split so that training has the class. "
                f"{nearest(name, list(classes)[:50]).rstrip('?')}",
            )
        values[row] = index[name]
    return values, values >= 0
