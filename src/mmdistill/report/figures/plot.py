"""What a plot is, and the look that all of them share."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mmdistill.report.figures.palette import LIGHT

WIDTH = 5.0
"""Inches of a plot: half of the page's width, the whole of a phone's."""
WIDEST_LEGEND = 0.88
"""Part of a plot's width that its legend may take; a wider one would make the axes narrow."""


@dataclass(frozen=True)
class Plot:
    """A drawing.

    Args:
        name: file name without its ending; letters, digits and dashes.
        title: what is shown, a few words.
        text: the same in words and numbers, for readers who cannot see it.
        figure: the drawing.
        wide: whether it takes the page's full width.
    """

    name: str
    title: str
    text: str
    figure: Figure
    wide: bool = False


_FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "PingFang SC", "Microsoft YaHei")


def _installed_fonts() -> list[str]:
    """Fonts that are there, in order of preference, so that class names in other scripts have glyphs in PNG files."""
    installed = {font.name for font in fontManager.ttflist}
    return [name for name in _FONTS if name in installed] or ["sans-serif"]


def _look() -> dict[Any, Any]:
    return {
        "font.family": _installed_fonts(),
        "font.size": 8.5,
        "text.parse_math": False,
        "text.color": LIGHT["ink"],
        "axes.labelcolor": LIGHT["muted"],
        "axes.edgecolor": LIGHT["line"],
        "axes.linewidth": 0.8,
        "axes.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "grid.color": LIGHT["grid"],
        "grid.linewidth": 0.7,
        "xtick.color": LIGHT["muted"],
        "ytick.color": LIGHT["muted"],
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "figure.facecolor": "none",
        "legend.frameon": False,
        "lines.solid_capstyle": "round",
        "svg.fonttype": "none",
        "svg.hashsalt": "mmdistill",
    }


@contextmanager
def look() -> Iterator[None]:
    """The settings of matplotlib under which plots are drawn and saved; those of the caller come back after."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcParams.update(_look())
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font", category=UserWarning)
        yield


def canvas(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """A figure of one axes, without pyplot. Sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def shortened(text: str, length: int = 26) -> str:
    """A name that fits beside a plot."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def logarithmic_ticks(axis: Axis, limits: tuple[float, float], write: Callable[[float], str]) -> None:
    """Ticks at 1, 2, 5 of every power of ten when few powers are shown, at fewer when many are, written by `write`."""
    decades = math.log10(max(limits) / min(limits))
    axis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if decades < 1.7 else (1, 3) if decades < 3 else (1,), numticks=12)
    )
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))
    axis.set_minor_locator(NullLocator())


def legend_above(axes: Axes, columns: int = 3) -> None:
    """The legend in lines above the axes, of at most so many columns, and of fewer where these would be too wide."""
    handles, labels = axes.get_legend_handles_labels()
    for ncols in range(min(columns, len(handles)), 0, -1):
        legend = axes.legend(
            handles,
            [shortened(label) for label in labels],
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=ncols,
            handlelength=1.8,
            columnspacing=1.2,
            borderaxespad=0.2,
            labelcolor=LIGHT["ink"],
        )
        if legend.get_window_extent().width <= WIDEST_LEGEND * axes.figure.bbox.width:
            break
