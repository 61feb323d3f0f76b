"""Rows with equal inputs: within a split, across splits, and with different labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from mmdistill.data.checks.findings import Finding, share
from mmdistill.data.checks.rows import EXAMPLES, Reading
from mmdistill.data.checks.targets import Target
from mmdistill.data.splits import Splits

OFTEN = 0.05


def duplicate_facts(reading: Reading, splits: Splits) -> dict[str, Any]:
    """Copies of whole rows, and of each column's cells where there are several columns.

    ``within``: per split, how many rows repeat an earlier one of it; ``across``: per pair, how many rows of the second
    are in the first. What is absent does not count.
    """
    facts = _counts(reading, reading.hashes, splits)
    if len(reading.columns) > 1:
        facts["columns"] = {name: _counts(reading, column.hashes, splits) for name, column in reading.columns.items()}
    return facts


def _counts(reading: Reading, all_hashes: np.ndarray, splits: Splits) -> dict[str, Any]:
    hashes = {side: _hashes(reading, all_hashes, rows) for side, rows in splits.items()}
    within = {side: int(len(values) - len(np.unique(values))) for side, values in hashes.items()}
    across = {
        f"{first}/{second}": int(np.isin(hashes[second], hashes[first]).sum())
        for first, second in combinations(hashes, 2)
    }
    return {"within": within, "across": across}


def duplicate_findings(
    reading: Reading, splits: Splits, facts: dict[str, Any], where: Callable[[int], str]
) -> Iterator[Finding]:
    """What `duplicate_facts` means."""
    rows = dict(splits.items())
    for pair, count in facts["across"].items():
        if count:
            first, second = pair.split("/")
            row = _first_shared(reading, reading.hashes, rows[first], rows[second])
            yield Finding(
                "warning",
                "duplicates-across",
                pair,
                f"{share(count, len(rows[second]))} rows of {second} have the same inputs as a row of {first}, "
                f"such as {where(row)}.",
                "Remove them from one side, or split by a `group` column that keeps copies together.",
            )
    for side, count in facts["within"].items():
        if count:
            yield Finding(
                "warning" if count > OFTEN * len(rows[side]) else "info",
                "duplicates-within",
                side,
                f"{share(count, len(rows[side]))} rows of {side} repeat the inputs of an earlier row.",
                "Remove the copies if they are not meant.",
            )
    for name, own in facts.get("columns", {}).items():
        column = reading.columns[name]
        count = own["across"]["train/test"]
        if count > facts["across"]["train/test"] and column.feature.type != "tabular":
            row = _first_shared(reading, column.hashes, rows["train"], rows["test"])
            yield Finding(
                "info",
                "column-duplicates",
                name,
                f"{share(count, len(rows['test']))} rows of test have a cell in {name!r} that is in train too, such as "
                f"{where(row)}.",
                "If they show the same thing, split by a `group` column that keeps copies together.",
            )


def label_noise(reading: Reading, target: Target, where: Callable[[int], str]) -> tuple[dict[str, Any], list[Finding]]:
    """Groups of rows with equal inputs and different labels."""
    names = np.array([target.names[row] or "" for row in reading.rows.tolist()], dtype=np.str_)
    usable = np.flatnonzero((reading.hashes != 0) & (names != ""))
    order = usable[np.argsort(reading.hashes[usable], kind="stable")]
    starts = np.flatnonzero(np.r_[True, np.diff(reading.hashes[order]) != 0]) if len(order) else np.array([], dtype=int)
    groups = [group for group in np.split(order, starts[1:]) if len(group) > 1 and len(set(names[group])) > 1]
    facts = {"groups": len(groups), "rows": int(sum(map(len, groups)))}
    if not groups:
        return facts, []
    shown = "; ".join(_pair(reading, names, group, where) for group in groups[:EXAMPLES])
    message = f"{facts['rows']:,} rows in {len(groups):,} groups have equal inputs and different labels: {shown}."
    return facts, [
        Finding("warning", "label-noise", target.column, message, "Look at these rows: some label is wrong.")
    ]


def _pair(reading: Reading, names: np.ndarray, group: np.ndarray, where: Callable[[int], str]) -> str:
    """The first row of a group and the first with another label."""
    first = int(group[0])
    other = int(next(position for position in group if names[position] != names[first]))
    rows = f"{where(int(reading.rows[first]))} and {where(int(reading.rows[other]))}"
    return f"{rows} ({str(names[first])!r} and {str(names[other])!r})"


def _hashes(reading: Reading, hashes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    values = hashes[np.isin(reading.rows, rows)]
    return values[values != 0]


def _first_shared(reading: Reading, hashes: np.ndarray, first: np.ndarray, second: np.ndarray) -> int:
    known = _hashes(reading, hashes, first)
    positions = np.flatnonzero(np.isin(reading.rows, second) & np.isin(hashes, known) & (hashes != 0))
    return int(reading.rows[positions[0]])
