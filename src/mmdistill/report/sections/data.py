"""The rows behind a run: splits, labels, classes and what is missing."""

from __future__ import annotations

from mmdistill.report import numbers
from mmdistill.report.results import DataSummary, Results
from mmdistill.report.table import Cell, Column, Row, Table

SPLITS = ("train", "validation", "test")


def split_names(data: DataSummary) -> list[str]:
    """The splits in reading order."""
    return [*[name for name in SPLITS if name in data.splits], *[name for name in data.splits if name not in SPLITS]]


def splits_table(data: DataSummary) -> Table | None:
    """Rows, labelled rows and unlabelled rows of every split."""
    if not data.splits:
        return None
    columns = [Column("Split", text=True), Column("Rows"), Column("With a target"), Column("Without a target")]
    rows = []
    for name in split_names(data):
        size = data.splits[name]
        unlabelled = None if size.labelled is None else size.rows - size.labelled
        rows.append(
            Row(
                [
                    Cell(name),
                    Cell(numbers.count(size.rows), size.rows),
                    Cell(numbers.count(size.labelled), size.labelled),
                    Cell(numbers.count(unlabelled), unlabelled),
                ]
            )
        )
    notes = []
    if data.skipped:
        notes.append(f"{numbers.count(data.skipped)} rows could not be read and were left out.")
    if data.dropped:
        notes.append(f"{numbers.count(data.dropped)} rows of validation and test have no target and were not used.")
    return Table("Rows of every split", columns, rows, notes)


def missing_table(data: DataSummary) -> Table | None:
    """Absent cells of every column and split; None when nothing is missing."""
    if not any(value for counts in data.missing.values() for value in counts.values()):
        return None
    splits = split_names(data) or list(dict.fromkeys(split for counts in data.missing.values() for split in counts))
    rows = []
    for column, counts in data.missing.items():
        cells = [Cell(column)]
        for split in splits:
            value = counts.get(split)
            size = data.splits[split].rows if split in data.splits else 0
            share = numbers.percent(value / size) if value and size else ""
            cells.append(Cell(numbers.count(value), value, share))
        rows.append(Row(cells))
    return Table("Absent cells", [Column("Column", text=True), *[Column(split) for split in splits]], rows)


def skipped_table(data: DataSummary) -> Table | None:
    """The rows that could not be read, as far as the run lists them: where, which column, why."""
    if not data.skipped_rows:
        return None
    rows = [Row([Cell(str(bad.get(key, ""))) for key in ("where", "column", "reason")]) for bad in data.skipped_rows]
    listed = "" if len(rows) >= data.skipped else f", the first {len(rows)}"
    headings = [Column("Where", text=True), Column("Column", text=True), Column("Reason", text=True)]
    return Table(f"Rows that could not be read{listed}", headings, rows)


def class_counts(data: DataSummary) -> list[tuple[str, dict[str, float]]]:
    """Class and its rows per split."""
    return [
        (
            str(entry["class"]),
            {key: value for key, value in entry.items() if key != "class" and isinstance(value, int | float)},
        )
        for entry in data.classes
        if "class" in entry
    ]


def classes_table(results: Results) -> Table | None:
    """Rows of every class and split with a target."""
    if results.data is None or not (counts := class_counts(results.data)):
        return None
    present = {split for _, row in counts for split in row}
    splits = [*[name for name in SPLITS if name in present], *sorted(present - set(SPLITS))]
    rows = [
        Row([Cell(name), *[Cell(numbers.count(row.get(split)), row.get(split)) for split in splits]])
        for name, row in counts
    ]
    return Table(
        "Rows with a target, per class", [Column("Class", text=True), *[Column(split) for split in splits]], rows
    )
