"""Numbers in the sentences of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MINUS = "\u2212"


def score(value: float | None) -> str:
    """Three decimals; a dash for what is not defined."""
    return "–" if value is None else f"{value:.3f}".replace("-", _MINUS)


def signed(value: float | None) -> str:
    """A difference with its sign."""
    text = "–" if value is None else f"{value:+.3f}".replace("-", _MINUS)
    return text if text.strip("+−0.") else "0.000"


def percent(value: float) -> str:
    """A fraction as a percentage."""
    return f"{100 * value:.1f}\u00a0%"


def between(interval: Sequence[float] | None) -> str:
    """A 95 % interval of a difference, in words."""
    if interval is None:
        return "no interval"
    return f"95\u00a0% interval {signed(interval[0])} to {signed(interval[1])}"


def listed(names: Sequence[str]) -> str:
    """Names joined as in a sentence: a, b and c."""
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def difference(found: Mapping[str, Any]) -> str:
    """A difference with its interval, from what `Estimate.to_json` gives."""
    return f"{signed(found['value'])} ({between(found['ci95'])})"
