"""How formats hand over cells that say nothing.

A format turns whatever it writes for "nothing" (an empty string, a null, a media mapping without content) into None
when it reads, so that everything above a table has one test for absence. The words "NA" and "null" are text.
"""

from __future__ import annotations

import math

import numpy as np

from mmdistill.data.modalities.base import Cell, is_absent

__all__ = ["Cell", "absent_as_none", "is_nan"]


def absent_as_none(cell: Cell) -> Cell:
    """The cell itself, or None when it says nothing: ``""``, ``{"bytes": None, "path": None}``."""
    return None if is_absent(cell) else cell


def is_nan(cell: Cell) -> bool:
    """Whether a cell is the floating-point number NaN (not the text "NaN")."""
    return isinstance(cell, (float, np.floating)) and math.isnan(cell)
