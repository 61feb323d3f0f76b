"""Shares as a heat map: the fuller the colour, the larger the share."""

from __future__ import annotations

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from numpy.typing import NDArray

from mmdistill.report.figures.palette import LIGHT
from mmdistill.report.figures.plot import shortened

_HALF, _DARK = 0.72, 0.86
"""Shares above which a cell is so full that the ink no longer reads, in the dark scheme and in both."""
_MOST_NUMBERS = 12
_MOST_NAMES = 40


def draw_shares(axes: Axes, shares: NDArray[np.float64], rows: list[str], columns: list[str], colour: str) -> None:
    """Cells between 0 and 1, with numbers in them while they are few; NaN is left blank.

    Args:
        axes: to draw on.
        shares: (R, C).
        rows: the names of the rows.
        columns: the names of the columns.
        colour: of a full cell.
    """
    red, green, blue = to_rgb(colour)
    clear_to_full = LinearSegmentedColormap.from_list(
        "share", [(red, green, blue, 0.0), (red, green, blue, 0.28), (red, green, blue, 1.0)]
    )
    size = max(shares.shape)
    sns.heatmap(shares, ax=axes, cmap=clear_to_full, vmin=0, vmax=1, cbar=False, square=True, rasterized=size > 60)
    if size <= _MOST_NUMBERS:
        _write_shares(axes, shares)
    _name_ticks(axes, rows, columns, size)
    for spine in axes.spines.values():
        spine.set_visible(True)
    axes.grid(visible=False)


def _name_ticks(axes: Axes, rows: list[str], columns: list[str], size: int) -> None:
    """Names beside and below the cells: each of them, or every so many when there are many."""
    step = max(1, -(-size // _MOST_NAMES))
    small = 8.0 if size <= _MOST_NUMBERS else max(4.0, 150 / (size / step) / 1.3)
    beside, below = np.arange(0, len(rows), step), np.arange(0, len(columns), step)
    names = [shortened(columns[tick], 14) for tick in below]
    upright = max(map(len, names)) > 2 or size > 20
    axes.set_xticks(below + 0.5, names, rotation=90 if upright else 0, fontsize=min(small, 8))
    axes.set_yticks(beside + 0.5, [shortened(rows[tick], 14) for tick in beside], rotation=0, fontsize=min(small, 8))


def _write_shares(axes: Axes, shares: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.005:
            colour = LIGHT["on-fill" if share > _DARK else "on-half" if share > _HALF else "ink"]
            axes.text(
                column + 0.5,
                row + 0.5,
                f"{share:.2f}"[1:] if share < 0.995 else "1",
                ha="center",
                va="center",
                color=colour,
                fontsize=7.5,
            )
