"""An audit for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from mmdistill.data.checks.findings import Audit

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_CLASSES = 12
_SIDES = ("train", "validation", "test")


def render(audit: Audit) -> RenderableType:
    """Sizes, classes, columns and findings as tables for a `rich` console."""
    parts: list[RenderableType] = [_heading(audit)]
    for name, facts in audit.facts.get("targets", {}).items():
        if facts.get("classes"):
            parts.append(_classes(name, facts))
    if audit.facts.get("columns"):
        parts.append(_columns(audit.facts["columns"]))
    parts.append(_findings(audit))
    return Group(*parts)


def _heading(audit: Audit) -> Text:
    sizes = audit.facts["splits"]
    text = Text.assemble(
        (audit.table, "bold"), f": {audit.rows:,} rows; ", ", ".join(f"{side} {sizes[side]:,}" for side in _SIDES)
    )
    if sizes["unlabelled"]:
        text.append(f" ({sizes['unlabelled']:,} of train unlabelled)")
    if sizes["dropped"]:
        text.append(f"; {sizes['dropped']:,} unlabelled rows of validation and test are not used")
    if audit.checked < audit.rows:
        text.append(f"; cells of {audit.checked:,} rows were read", style="italic")
    return text


def _grid(title: str, *columns: str) -> Grid:
    grid = Grid(title=title, title_justify="left", title_style="bold", header_style="dim", pad_edge=False)
    for index, column in enumerate(columns):
        grid.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    return grid


def _classes(task: str, facts: dict[str, Any]) -> Grid:
    classes = facts["classes"]
    grid = _grid(f"Classes of {facts['column']!r} ({task})", "class", *_SIDES, "share of train")
    total = sum(counts["train"] for counts in classes.values())
    ranked = sorted(classes.items(), key=lambda item: -item[1]["train"])
    for name, counts in ranked[:_CLASSES]:
        part = f"{100 * counts['train'] / total:.1f} %" if total else ""
        grid.add_row(Text(name), *(f"{counts[side]:,}" for side in _SIDES), part)
    if len(ranked) > _CLASSES:
        grid.add_row(Text(f"… {len(ranked) - _CLASSES:,} more", style="dim"))
    return grid


def _columns(columns: dict[str, Any]) -> Grid:
    grid = _grid(
        "Columns", "column", "type", "missing in train / validation / test", "unreadable", "smallest … median … largest"
    )
    for name, facts in columns.items():
        missing = " / ".join(f"{facts['missing'][side]:,}" for side in _SIDES)
        ranges = "\n".join(
            f"{measure} {values['min']:g} … {values['median']:g} … {values['max']:g}"
            for measure, values in facts["ranges"].items()
        )
        grid.add_row(Text(name), facts["type"], missing, f"{facts['unreadable']:,}", ranges)
    return grid


def _findings(audit: Audit) -> RenderableType:
    if not audit.findings:
        return Text("Nothing was found that stands in the way.", style="green")
    grid = Grid(
        title=f"{len(audit.errors)} errors, {len(audit.warnings)} warnings",
        title_justify="left",
        title_style="bold",
        header_style="dim",
        pad_edge=False,
        show_lines=True,
    )
    grid.add_column("level")
    grid.add_column("where", overflow="fold")
    grid.add_column("what", overflow="fold", ratio=1)
    for finding in audit.findings:
        what = Text(finding.message)
        if finding.fix:
            what.append(f"\n{finding.fix}", style="italic")
        grid.add_row(Text(finding.level, style=_STYLES[finding.level]), Text(f"{finding.where}\n{finding.code}"), what)
    return grid
