"""The verdict and the comparison of the models, for the end of a run in the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from mmdistill.report import numbers
from mmdistill.report.reading import parse_results
from mmdistill.report.results import Gain, Results
from mmdistill.report.sections.comparison import comparison_table
from mmdistill.report.sections.gains import gains_table
from mmdistill.report.sections.verdict import verdict
from mmdistill.report.table import Cell, Row, Table

TONES = {"good": "green", "bad": "red", "unclear": "yellow"}
_ROLES = {"teacher": "blue", "student": "dark_orange3", "baseline": "grey58", "control": "magenta", "peer": "cyan"}


def results_table(results: Results | Mapping[str, Any]) -> RenderableType:
    """The verdict, the models beside each other, and the gains when there are several students.

    Args:
        results: the content of `results.json`, checked or not.

    Raises:
        InputError: when something that every run has is missing.
    """
    checked = results if isinstance(results, Results) else parse_results(dict(results))
    said = verdict(checked)
    parts: list[RenderableType] = [FittedTable(comparison_table(checked, brief=True))]
    gains = gains_table(checked)
    if gains is not None and len(gains.rows) > 1:
        parts.append(FittedTable(gains))
    parts.append(Text(""))
    if said.rest is None:
        parts.append(Text(said.badge, style=f"bold {TONES[said.tone]}"))
    parts.append(Text(said.sentence, style=f"bold {TONES[said.tone]}" if said.rest is not None else ""))
    if checked.main_gain is not None and checked.main_gain.interval is not None and "interval" not in said.sentence:
        parts.append(Text(_gain_line(checked, checked.main_gain)))
    parts += [Text(caution, style="dim") for caution in said.cautions]
    return Padding(Group(*parts), (1, 0))


def _gain_line(results: Results, gain: Gain) -> str:
    seeds = "1 seed" if gain.pairs == 1 else f"{gain.pairs} seeds"
    size = f"{numbers.signed(gain.mean)} {results.metric_label(gain.metric)}"
    return f"Gain: {size}, 95 % interval {numbers.interval(gain.interval)}, {seeds}"


@dataclass(frozen=True)
class FittedTable:
    """A table of results for the terminal. Where it is too narrow the last columns go; a number is never cut."""

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = self.table
        while len(shown.columns) > 2 and _least_width(shown, console, options) > options.max_width:
            rows = [Row(row.cells[:-1], row.key, row.quiet) for row in shown.rows]
            shown = Table(shown.caption, shown.columns[:-1], rows, shown.notes)
        yield _rich_table(shown)


def _least_width(table: Table, console: Console, options: ConsoleOptions) -> int:
    return Measurement.get(console, options.update(max_width=10_000), _rich_table(table)).minimum


def _rich_table(table: Table) -> RichTable:
    shown = RichTable(title=Text(table.caption), title_justify="left", title_style="bold", header_style="dim", box=None)
    for index, column in enumerate(table.columns):
        lines = textwrap.wrap(column.title, 12, break_long_words=False, break_on_hyphens=False)
        heading = Text(f"{chr(10).join(lines)} {column.direction}".strip())
        if column.text or index == 0:
            shown.add_column(heading, overflow="fold", min_width=12)
        else:
            texts = [heading, *[_text(row.cells[index]) for row in table.rows]]
            widest = max(cell_len(line) for text in texts for line in text.plain.splitlines() or [""])
            shown.add_column(heading, justify="right", no_wrap=True, min_width=widest)
    for row in table.rows:
        style = "dim" if row.quiet else ""
        first = Text(row.cells[0].text, style=_ROLES.get(row.key.split("-")[0], ""))
        shown.add_row(first, *[_text(cell) for cell in row.cells[1:]], style=style)
    return shown


def _text(cell: Cell) -> Text:
    text = Text(cell.text, style=TONES.get(cell.tone, ""))
    if cell.spread:
        text.append(f" {cell.spread}", style="dim")
    if cell.note == "best":
        text.stylize("bold")
    elif cell.note:
        text.append(f" ({cell.note})", style="dim")
    return text
