"""Which rows train, which choose between models, and which are read once at the end.

A column of the table says it, or fractions do. With a group column (patient, speaker, video) all rows of a group fall
on one side: by the hash of the group's value, so that rows added later move no group, and checked where a column says
the split.

A row without a target is *unlabelled* and teaches through the teacher only, so it belongs to train: fractions are of
the labelled rows, and every unlabelled row trains. Where that would cross a border that the table or a group draws (an
unlabelled row in the test split, or in a group that fell on the test side), the row is left out and counted in
`Splits.dropped`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mmdistill.data.cells import Cell, is_nan
from mmdistill.data.split_names import SPLIT_WORDS, split_name
from mmdistill.data.table import Table
from mmdistill.errors import InputError
from mmdistill.recipe.schema import SplitSpec

SIDES: Final = ("train", "validation", "test")
_TRAIN, _VALIDATION, _TEST = range(3)
_MANY: Final = 5  # examples in a message

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Splits:
    """Row numbers of the three sides, sorted, without overlap.

    Args:
        train: rows that train, labelled or not.
        validation: labelled rows that choose between models.
        test: labelled rows that are scored once, at the end.
        dropped: unlabelled rows that stand on the validation or test side and are used nowhere.
        unlabelled: how many rows of `train` have no target.
    """

    train: Rows
    validation: Rows
    test: Rows
    dropped: Rows
    unlabelled: int = 0

    def items(self) -> list[tuple[str, Rows]]:
        """Name and rows of each side."""
        return [("train", self.train), ("validation", self.validation), ("test", self.test)]

    def to_json(self) -> dict[str, int]:
        """Sizes, for the run folder and reports."""
        sizes = {side: len(rows) for side, rows in self.items()}
        return {**sizes, "unlabelled": self.unlabelled, "dropped": len(self.dropped)}


def split_rows(table: Table, spec: SplitSpec, labelled: Mask | None = None) -> Splits:
    """Split the rows of a table as the recipe says.

    Args:
        table: the table.
        spec: `data.split` of the recipe.
        labelled: (rows,) whether a row has a target; all rows when None.

    Raises:
        InputError: for a column that does not exist, an empty or unknown word in the split column, an empty group cell,
            a group on two sides, or a side that would be empty and is not stated to be (`validation: 0`, `test: 0`).
    """
    labelled = np.ones(len(table), dtype=np.bool_) if labelled is None else np.asarray(labelled, dtype=np.bool_)
    if labelled.shape != (len(table),):
        raise ValueError(f"labelled has shape {labelled.shape} for {len(table)} rows")
    groups = None if spec.group is None else _groups(table, spec.group)
    sides = _stated(table, spec, groups, labelled) if spec.column else _by_fraction(spec, groups, labelled)
    dropped = ~labelled & (sides != _TRAIN)
    kept = {index: np.flatnonzero((sides == index) & ~dropped).astype(np.int64) for index in range(3)}
    splits = Splits(
        train=kept[_TRAIN],
        validation=kept[_VALIDATION],
        test=kept[_TEST],
        dropped=np.flatnonzero(dropped).astype(np.int64),
        unlabelled=int((~labelled[kept[_TRAIN]]).sum()),
    )
    _refuse_empty(table, spec, splits)
    return splits


def group_leaks(groups: Sequence[str], sides: Mapping[str, Rows]) -> list[str]:
    """The groups that have rows on more than one side, in the order of the table."""
    first_side: dict[str, str] = {}
    leaking: dict[str, None] = {}
    for side, rows in sides.items():
        for row in rows.tolist():
            if first_side.setdefault(groups[row], side) != side:
                leaking[groups[row]] = None
    return list(leaking)


def _stated(table: Table, spec: SplitSpec, groups: list[str] | None, labelled: Mask) -> NDArray[np.int8]:
    """Sides that the split column states; validation is carved out of train where it states none."""
    assert spec.column is not None
    sides = _read_sides(table, spec.column)
    if groups is not None:
        leaking = group_leaks(groups, {side: np.flatnonzero(sides == index) for index, side in enumerate(SIDES)})
        if leaking:
            raise InputError(
                f"{len(leaking)} groups of the column {spec.group!r} are on more than one side of {spec.column!r}: "
                f"{_listed(leaking)}",
                where="data.split",
                fix=f"Correct the column {spec.column!r}, or leave `column` out to split by `group` alone",
            )
    if not (sides == _VALIDATION).any() and spec.validation > 0:
        train = sides == _TRAIN
        carved = _assign(spec, groups, labelled & train, within=train, test=0.0)
        sides[train & (carved == _VALIDATION)] = _VALIDATION
    return sides


def _read_sides(table: Table, column: str) -> NDArray[np.int8]:
    table.require(column, where="data.split.column")
    sides = np.full(len(table), -1, dtype=np.int8)
    unknown: dict[str, int] = {}
    for row, cell in enumerate(table.column(column)):
        if cell is None or is_nan(cell):
            raise InputError(
                f"The split column {column!r} is empty", where=table.where(row), fix="Write train, validation or test"
            )
        side = split_name(cell)
        if side is None:
            unknown.setdefault(str(cell), row)
        else:
            sides[row] = SIDES.index(side)
    if unknown:
        words = "; ".join(f"{side}: {', '.join(SPLIT_WORDS[side])}" for side in SIDES)
        raise InputError(
            f"The split column {column!r} holds words that name no split: {_listed(unknown)}",
            where=table.where(min(unknown.values())),
            fix=f"Known words, in any case: {words}",
        )
    return sides


def _by_fraction(spec: SplitSpec, groups: list[str] | None, labelled: Mask) -> NDArray[np.int8]:
    if spec.validation + spec.test >= 1:
        raise InputError(
            f"validation ({spec.validation:g}) and test ({spec.test:g}) leave no rows for train",
            where="data.split",
            fix="Their sum must be below 1",
        )
    return _assign(spec, groups, labelled, within=np.ones(len(labelled), dtype=np.bool_), test=spec.test)


def _assign(spec: SplitSpec, groups: list[str] | None, labelled: Mask, within: Mask, test: float) -> NDArray[np.int8]:
    """Sides by fraction: whole groups, or single labelled rows. Rows that are not `within` have no side (-1)."""
    sides = np.where(within, _TRAIN, -1).astype(np.int8)
    if groups is not None:
        place = {group: _hash_fraction(spec.seed, group) for group in set(groups)}
        where = np.array([place[group] for group in groups])
        sides[within & (where < test)] = _TEST
        sides[within & (where >= test) & (where < test + spec.validation)] = _VALIDATION
        return sides
    rows = np.flatnonzero(labelled)
    rows = rows[np.argsort(_row_keys(spec.seed, rows), kind="stable")]
    tests, validations = _count(len(rows), test), _count(len(rows), spec.validation)
    sides[rows[:tests]] = _TEST
    sides[rows[tests : tests + validations]] = _VALIDATION
    return sides


def _count(rows: int, fraction: float) -> int:
    """The nearest whole number of rows, at least one where a fraction is asked for."""
    return 0 if fraction == 0 else max(1, round(rows * fraction))


def _hash_fraction(seed: int, group: str) -> float:
    """A number in [0, 1) that depends on nothing but the seed and the group's value."""
    digest = hashlib.blake2b(f"{seed}\0{group}".encode(), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> 11) * 2.0**-53)


def _row_keys(seed: int, rows: Rows) -> NDArray[np.uint64]:
    """A random number for each row number, the same on every machine and version.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    start = np.uint64(int.from_bytes(hashlib.blake2b(str(seed).encode(), digest_size=8).digest(), "big"))
    mixed = start + (rows.astype(np.uint64) + np.uint64(1)) * golden
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def _groups(table: Table, column: str) -> list[str]:
    """The group of each row as text: 7, 7.0 and "7" are one group."""
    table.require(column, where="data.split.group")
    return [_group(cell, table, row, column) for row, cell in enumerate(table.column(column))]


def _group(cell: Cell, table: Table, row: int, column: str) -> str:
    if cell is None or is_nan(cell):
        raise InputError(
            f"The group column {column!r} is empty, so its row could be on any side",
            where=table.where(row),
            fix="Give every row a group; a row that belongs to none has a value of its own",
        )
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, (str, int, float)):
        return str(cell)
    raise InputError(
        f"The group column {column!r} holds a {type(cell).__name__}", where=table.where(row), fix="Use text or numbers"
    )


def _refuse_empty(table: Table, spec: SplitSpec, splits: Splits) -> None:
    stated = {"validation": spec.validation, "test": spec.test}
    for side, rows in splits.items():
        filled = len(rows) - splits.unlabelled if side == "train" else len(rows)
        if filled > 0 or stated.get(side) == 0:
            continue
        kind = "labelled rows" if splits.unlabelled or len(splits.dropped) else "rows"
        raise InputError(
            f"The {side} split of {table.source!r} has no {kind}", where="data.split", fix=_fix_empty(spec, side)
        )


def _fix_empty(spec: SplitSpec, side: str) -> str:
    state = "" if side == "train" else f", or state `{side}: 0` to go without it"
    if spec.column and (side != "validation" or not spec.group):
        return f"Name some rows {side} in the column {spec.column!r}{state}"
    if spec.group:
        return f"The table has few groups in {spec.group!r}: raise the fraction, try another `seed`{state}"
    return f"The table is small: give it more rows with a target, or lower the fractions{state}"


def _listed(values: Collection[str]) -> str:
    shown = [repr(value) for value in list(values)[:_MANY]]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
