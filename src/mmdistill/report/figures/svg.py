"""A plot as inline SVG whose colours follow the scheme of the page, and as whole files."""

from __future__ import annotations

import io
import re
from html import escape

from mmdistill.report.figures.palette import LIGHT
from mmdistill.report.figures.plot import Plot

_VARIABLES = {value: f"var(--{name})" for name, value in LIGHT.items()}


def inline_svg(plot: Plot) -> str:
    """The plot as an `<svg>` element for an HTML page.

    Colours become CSS variables, text stays text in the page's font, ids carry the plot's name so that several drawings
    stand on one page, and nothing refers to the outside.
    """
    svg = _svg(plot, transparent=True)
    for part in (r"<metadata>.*?</metadata>", r"<!--.*?-->", r"<style[^>]*>.*?</style>"):
        svg = re.sub(part, "", svg, flags=re.DOTALL)
    opening, body = svg[svg.index("<svg") :].split(">", 1)
    view_box = re.search(r'viewBox="([^"]+)"', opening)
    assert view_box is not None
    body = re.sub(r"<title>.*?</title>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"<[^>]+>", lambda tag: _themed(tag[0], plot.name), body)
    names = f'aria-labelledby="{plot.name}-title {plot.name}-text"'
    return (
        f'<svg class="plot" role="img" viewBox="{view_box[1]}" {names}>'
        f'<title id="{plot.name}-title">{escape(plot.title)}</title>'
        f'<desc id="{plot.name}-text">{escape(plot.text)}</desc>{body.strip()}'
    )


def _themed(tag: str, name: str) -> str:
    """One tag with CSS variables for colours, the page's font, and ids of its own."""
    tag = re.sub(r"#[0-9a-f]{6}\b", lambda colour: _VARIABLES.get(colour[0], colour[0]), tag)
    tag = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\1{name}-", tag).replace("xlink:href", "href")
    tag = re.sub(r"font-family: [^;\"]+", "font-family: inherit", tag)
    return re.sub(r"\bfont: ([^;\"]*?)([\d.]+px) [^;\"]+", _font, tag)


def _font(found: re.Match[str]) -> str:
    weight = "; font-weight: 700" if "bold" in found[1] or "700" in found[1] else ""
    return f"font-size: {found[2]}{weight}"


def svg_file(plot: Plot) -> bytes:
    """The plot as an SVG file on white."""
    return _svg(plot, transparent=False).encode("utf-8")


def png_file(plot: Plot, dots_per_inch: int = 200) -> bytes:
    """The plot as a PNG file on white."""
    buffer = io.BytesIO()
    plot.figure.savefig(buffer, format="png", dpi=dots_per_inch, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def _svg(plot: Plot, transparent: bool) -> str:
    buffer = io.StringIO()
    plot.figure.savefig(
        buffer,
        format="svg",
        facecolor="none" if transparent else "white",
        metadata={"Date": None, "Creator": None, "Title": plot.title},
    )
    return buffer.getvalue()
