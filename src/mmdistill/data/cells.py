"""What a table holds for one row and column, and what counts as nothing.

A cell is plain data: text, bytes, a number, a truth value, a list, a mapping (a Hugging Face image or audio column
holds ``{"bytes": …, "path": …}``), an array, a Pillow image given from Python, or None. An *absent* cell is None: a
format turns what it writes for "nothing" (an empty string, a null, a media mapping without content) into None when it
reads, so that everything above a table has one test for absence. The words "NA" and "null" are text like any other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

Cell: TypeAlias = "str | bytes | int | float | bool | list[Any] | dict[str, Any] | np.ndarray | Image | None"


def absent_as_none(cell: Cell) -> Cell:
    """The cell itself, or None when it says nothing: ``""``, ``{"bytes": None, "path": None}``."""
    if isinstance(cell, str):
        return cell or None
    if isinstance(cell, dict) and is_media(cell) and not any(cell.values()):
        return None
    return cell


def is_media(cell: Cell) -> bool:
    """Whether a cell is a media mapping: keys ``bytes``, ``path`` or both, and no other."""
    return isinstance(cell, dict) and bool(cell) and cell.keys() <= {"bytes", "path"}


def is_nan(cell: Cell) -> bool:
    """Whether a cell is the floating-point number NaN (not the text "NaN")."""
    return isinstance(cell, (float, np.floating)) and math.isnan(cell)
