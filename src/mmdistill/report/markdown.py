"""A table of results as Markdown."""

from __future__ import annotations

import re

from mmdistill.report.table import Cell, Table


def markdown_table(table: Table) -> str:
    """A table of results in Markdown; the text of users is escaped."""
    headings = [f"{column.title} {column.direction}".strip() for column in table.columns]
    lines = [
        _line([plain(heading) for heading in headings]),
        _line([":--" if index == 0 or each.text else "--:" for index, each in enumerate(table.columns)]),
        *[_line([_cell(cell) for cell in row.cells]) for row in table.rows],
    ]
    notes = f"\n\n{plain(' '.join(table.notes))}" if table.notes else ""
    return "\n".join(lines) + notes


def plain(text: str) -> str:
    """Text that Markdown and HTML leave as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    note = f"({cell.note})" if cell.note else ""
    return plain(" ".join(part for part in (cell.text, cell.spread, note) if part))
