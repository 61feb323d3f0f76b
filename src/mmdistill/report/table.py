"""A table of results that can be shown in a page, in a terminal and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmdistill.report import numbers
from mmdistill.report.spread import Spread


@dataclass(frozen=True)
class Cell:
    """One cell.

    Args:
        text: what is read.
        value: the number behind it, at full precision; None for text and for what is missing.
        spread: what follows more quietly, such as ``± 0.004``.
        note: a short remark in the cell, such as ``worst``.
        tone: ``good``, ``bad`` or empty.
        bar: a signed share in [-1, 1] drawn as a small bar; None for no bar.
    """

    text: str
    value: float | None = None
    spread: str = ""
    note: str = ""
    tone: str = ""
    bar: float | None = None


@dataclass(frozen=True)
class Column:
    """One column. `direction` is ``↑`` (higher is better), ``↓`` or empty; text columns are set to the left."""

    title: str
    direction: str = ""
    text: bool = False


@dataclass(frozen=True)
class Row:
    """One row. `key` is a colour of the palette that marks it, or empty; `quiet` rows are set apart from the models."""

    cells: list[Cell]
    key: str = ""
    quiet: bool = False


@dataclass(frozen=True)
class Table:
    """A captioned table; the first cell of a row is its header."""

    caption: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str] = field(default_factory=list)

    @property
    def both_ways(self) -> bool:
        """Whether bars go to both sides of a zero line."""
        return any(cell.bar is not None and cell.bar < 0 for row in self.rows for cell in row.cells)


def score_cell(values: Spread | None) -> Cell:
    """Mean ± standard deviation of a metric over seeds."""
    if values is None:
        return Cell(numbers.MISSING)
    around = "" if values.std is None else f"± {numbers.score(values.std)}"
    return Cell(numbers.score(values.mean), values.mean, around)


def arrow(higher_is_better: bool | None) -> str:
    """Which way is better."""
    return {True: "↑", False: "↓", None: ""}[higher_is_better]


def without_empty_columns(table: Table) -> Table:
    """The table without the columns in which no row says anything."""
    kept = [
        index
        for index in range(len(table.columns))
        if index == 0 or any(row.cells[index].text not in ("", numbers.MISSING) for row in table.rows)
    ]
    rows = [Row([row.cells[index] for index in kept], row.key, row.quiet) for row in table.rows]
    return Table(table.caption, [table.columns[index] for index in kept], rows, table.notes)
