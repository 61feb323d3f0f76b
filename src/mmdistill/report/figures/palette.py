"""The colours of the report: one for each role, the same in every plot and table, told apart by colour-blind readers.

Figures are drawn with the light colours, all different. On the page each is replaced by its variable, so that one
drawing serves both schemes; in files the light colours stay.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mmdistill.report.results import Results

LIGHT = {
    "ink": "#1b2230",
    "muted": "#566072",
    "line": "#b9c0cc",
    "grid": "#e4e7ec",
    "paper": "#fffffe",
    "on-fill": "#fefeff",
    "on-half": "#1b2231",
    "teacher": "#2f5aa8",
    "teacher-2": "#5b86c9",
    "student": "#c8500a",
    "student-2": "#a87700",
    "student-3": "#8f2d4d",
    "baseline": "#757d8a",
    "baseline-2": "#8f96a1",
    "control": "#7a479c",
    "control-2": "#9c6fbb",
    "peer": "#17796a",
    "peer-2": "#3f9c8c",
    "split-1": "#45437a",
    "split-2": "#8582b8",
    "split-3": "#c3c0e2",
    "good": "#1a7a48",
    "bad": "#b4261d",
    "unclear": "#8a6000",
}
DARK = {
    "ink": "#e8ebf1",
    "muted": "#a3acbb",
    "line": "#4a5363",
    "grid": "#2a303c",
    "paper": "#14171d",
    "on-fill": "#12151a",
    "on-half": "#12151a",
    "teacher": "#86aef0",
    "teacher-2": "#b1cbf5",
    "student": "#ff9b5e",
    "student-2": "#efc24a",
    "student-3": "#f08fb0",
    "baseline": "#a2aab7",
    "baseline-2": "#838b99",
    "control": "#c9a2e6",
    "control-2": "#a983c9",
    "peer": "#62c9b6",
    "peer-2": "#8fdccd",
    "split-1": "#d5d3f2",
    "split-2": "#938fca",
    "split-3": "#57548f",
    "good": "#5fcf93",
    "bad": "#ff8a80",
    "unclear": "#e9bd4f",
}

_SHADES = {
    "teacher": ("teacher", "teacher-2"),
    "student": ("student", "student-2", "student-3"),
    "baseline": ("baseline", "baseline-2"),
    "control": ("control", "control-2"),
    "peer": ("peer", "peer-2"),
}
_MARKERS = {"teacher": "D", "student": "o", "baseline": "s", "control": "^", "peer": "P"}
_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.6), (1.4, 1.4), (5, 1.4, 1.2, 1.4))


@dataclass(frozen=True)
class Style:
    """How a model is drawn: the colour's name, a marker, and a dash pattern (empty for a solid line)."""

    colour: str
    marker: str
    dash: tuple[float, ...]

    @property
    def hex(self) -> str:
        """The light colour."""
        return LIGHT[self.colour]


def styles(results: Results) -> dict[str, Style]:
    """The style of every model: its role's colour and marker, shade and dash by its place among those of the role."""
    seen: Counter[str] = Counter()
    found = {}
    for name in results.ordered:
        role = results.models[name].role
        shades, place = _SHADES.get(role, ("muted",)), seen[role]
        dashes = _DASHES[1:] if role == "baseline" else _DASHES
        dash = dashes[place // len(shades) % len(dashes)]
        found[name] = Style(shades[place % len(shades)], _MARKERS.get(role, "v"), dash)
        seen[role] += 1
    return found


def css_variables(colours: dict[str, str]) -> str:
    """Declarations of the colours as CSS variables."""
    return "\n".join(f"  --{name}: {value};" for name, value in colours.items())
