"""Rows to be predicted that lack other columns than any training row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmdistill.data.checks.findings import Finding, listed, share
from mmdistill.data.checks.rows import Reading
from mmdistill.data.modality_dropouts.never_seen import never_seen, patterns
from mmdistill.data.splits import Splits
from mmdistill.recipe.schema import Component

ANY = Component(name="uniform")
"""A modality dropout that makes every subset of what a row has."""


@dataclass(frozen=True)
class Reader:
    """What a check of presence has to know of a model.

    Args:
        columns: that it reads.
        dropout: its modality dropout.
    """

    columns: Sequence[str]
    dropout: Component | None = None


def presence_findings(reading: Reading, splits: Splits, models: Mapping[str, Reader]) -> Iterator[Finding]:
    """Warn of subsets of a model's columns that validation or test rows have, and that it is never trained with.

    Args:
        reading: of the table's cells.
        splits: of its rows.
        models: the recipe's models by name. Columns that could not be read are left out.
    """
    for name, model in models.items():
        columns = [column for column in model.columns if column in reading.columns]
        if len(columns) < 2:
            continue
        trained = _present(reading, columns, splits.train)
        if not len(trained[columns[0]]):
            continue
        for side, rows in (("validation", splits.validation), ("test", splits.test)):
            counts = patterns(_present(reading, columns, rows), columns)
            unseen = never_seen(counts, trained, columns, model.dropout)
            if unseen:
                concerned = sum(count for pattern, count in counts.items() if "+".join(pattern) in unseen)
                yield Finding(
                    "warning",
                    "unseen-subset",
                    f"{name}, {side}",
                    f"{share(concerned, sum(counts.values()))} rows of {side} have combinations of columns that "
                    f"{name!r} never sees in training: {listed(unseen)}.",
                    _fix(never_seen(counts, trained, columns, ANY), unseen, model.dropout),
                )


def _fix(never_possible: Sequence[str], unseen: Sequence[str], dropout: Component | None) -> str:
    """What helps: dropout hides columns of training rows and adds none."""
    if set(unseen) <= set(never_possible):
        return "No training row has all the columns of one, which no `modality_dropout` can mend: split the rows anew."
    if dropout is None:
        return "Set `modality_dropout` for the model so that it learns to do with them, or split the rows anew."
    return (
        f"Its `modality_dropout`, {dropout.name!r}, does not show them: let it show them, choose another of "
        "`mmdistill list modality-dropouts`, or split the rows anew."
    )


def _present(reading: Reading, columns: Sequence[str], rows: np.ndarray) -> dict[str, np.ndarray]:
    chosen = np.isin(reading.rows, rows)
    return {column: ~reading.columns[column].missing[chosen] for column in columns}
