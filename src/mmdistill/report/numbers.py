"""How numbers are written for people. Every function takes None and then gives a dash."""

from __future__ import annotations

MISSING = "–"
MINUS = "\u2212"


def score(value: float | None) -> str:
    """A metric: three decimals, four significant digits from 10 on. Fractions stay fractions."""
    if value is None:
        return MISSING
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return text.replace("-", MINUS)


def signed(value: float | None) -> str:
    """A difference with its sign; zero to three decimals has none."""
    if value is None:
        return MISSING
    text = score(abs(value))
    if not text.strip("0."):
        return text
    return f"{'+' if value > 0 else MINUS}{text}"


def count(value: float | None) -> str:
    """A number of things, whole, with separators."""
    return MISSING if value is None else f"{round(value):,}"


def compact(value: float | None) -> str:
    """A large number to three significant digits: 998, 12.3 k, 1.24 M, 4.50 G."""
    if value is None:
        return MISSING
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size * 0.9995:
            return f"{significant(value / size)} {unit}"
    return f"{value:.0f}"


def significant(value: float | None) -> str:
    """Three significant digits without an exponent."""
    if value is None:
        return MISSING
    if abs(value) >= 999.5:
        return f"{value:,.0f}".replace("-", MINUS)
    if abs(value) < 0.0005:
        return "0" if value == 0 else f"{value:.1e}".replace("-", MINUS)
    decimals = 0 if abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2 if abs(value) >= 0.9995 else 3
    return f"{value:.{decimals}f}".replace("-", MINUS)


def percent(value: float | None) -> str:
    """A fraction as a percentage with one decimal."""
    return MISSING if value is None else f"{100 * value:.1f} %".replace("-", MINUS)


def ratio(value: float | None) -> str:
    """How many times: 12.3×."""
    return MISSING if value is None else f"{significant(value)}×"


def duration(seconds: float | None) -> str:
    """A time for people: 0.42 s, 42.1 s, 3 min 12 s, 1 h 04 min."""
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{significant(seconds)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def p_value(value: float | None) -> str:
    """A p-value: two significant digits, never zero."""
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def interval(ends: tuple[float, float] | None) -> str:
    """An interval of differences, which does not break over a line: [+0.012, +0.034]."""
    return MISSING if ends is None else f"[{signed(ends[0])},\u00a0{signed(ends[1])}]"
