"""Numbers and categories from cells, and the scalings of numeric columns."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from statistics import NormalDist
from typing import Any

import numpy as np

from mmdistill.data.cells import Cell, is_nan
from mmdistill.data.modalities.base import CellError, describe

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def parse_number(cell: Cell) -> float | None:
    """The number of a cell; None when it holds nothing (empty, white space, the floating-point NaN of a typed column).

    Raises:
        CellError: for a word, for infinity, and for what is no number at all.
    """
    if cell is None or is_nan(cell):
        return None
    if isinstance(cell, str):
        text = cell.strip()
        if not text:
            return None
        if text.lower().lstrip("+-") in ("inf", "infinity"):
            raise CellError(f"is not finite ({text})", fix="Leave the cell empty where a number is missing")
        if not _NUMBER.fullmatch(text):
            raise CellError(
                f"is {describe(cell)}, not a number",
                fix="Leave the cell empty where a number is missing, and write numbers as 1234.5",
            )
        number = float(text)
    elif isinstance(cell, bool | int | float | np.bool_ | np.number | Decimal):
        try:
            number = float(cell)
        except OverflowError:
            number = math.inf
    else:
        raise CellError(f"is {describe(cell)}, not a number", fix="Leave the cell empty where a number is missing")
    if not math.isfinite(number):
        raise CellError(f"is not finite ({cell})", fix="Leave the cell empty where a number is missing")
    return number


def parse_category(cell: Cell) -> str | None:
    """The category of a cell as text, white space trimmed; None when it holds nothing. 3, 3.0 and "3" are one category.

    Raises:
        CellError: for lists, mappings, bytes and arrays.
    """
    if cell is None or is_nan(cell):
        return None
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, int | np.integer):
        return str(int(cell))
    if isinstance(cell, float | np.floating | Decimal):
        if not math.isfinite(cell):
            raise CellError(f"is not finite ({cell})", fix="Leave the cell empty where a category is missing")
        return str(int(cell)) if cell == int(cell) else str(cell)
    raise CellError(f"is {describe(cell)}, not a category", fix="Give texts or numbers")


def signed_log(values: np.ndarray) -> np.ndarray:
    """sign(x) log(1 + |x|), which keeps zero and the sign."""
    return np.sign(values) * np.log1p(np.abs(values))


KNOTS = 257


def normal_scores(sample: np.ndarray) -> dict[str, list[float]]:
    """The map from values to a standard normal distribution, as up to 257 knots of a piecewise linear function.

    Args:
        sample: values of the column, shape (n,), n >= 1.

    Returns:
        ``knots`` (strictly increasing values) and ``scores`` (normal quantiles of their mid-ranks).
    """
    ranks = (np.arange(KNOTS) + 0.5) / KNOTS
    values = np.quantile(sample, ranks)
    knots, inverse = np.unique(values, return_inverse=True)
    middle = np.bincount(inverse, weights=ranks) / np.bincount(inverse)
    normal = NormalDist()
    return {"knots": knots.tolist(), "scores": [normal.inv_cdf(rank) for rank in middle.tolist()]}


def transform(values: np.ndarray, column: dict[str, Any]) -> np.ndarray:
    """Values of a numeric column before they are standardised, by the column's entry in the state."""
    if column["scaling"] == "log":
        return signed_log(values)
    if column["scaling"] == "quantile":
        return np.interp(values, column["knots"], column["scores"])
    return values


class Reservoir:
    """A uniform sample of a stream of numbers that is the same each time (Vitter's algorithm R, 1985).

    Args:
        size: most numbers kept.
    """

    def __init__(self, size: int) -> None:
        self._kept: list[float] = []
        self._size = size
        self._seen = 0
        self._random = np.random.default_rng(0)

    def add(self, number: float) -> None:
        """Take in one number."""
        self._seen += 1
        if len(self._kept) < self._size:
            self._kept.append(number)
        elif (place := int(self._random.integers(self._seen))) < self._size:
            self._kept[place] = number

    @property
    def values(self) -> np.ndarray:
        """The sample, float64 (n,)."""
        return np.asarray(self._kept, dtype=np.float64)
