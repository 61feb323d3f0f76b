"""What a model's fusion attends to, over all its seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmdistill.report.results import AttentionTable, Model


def attention(model: Model) -> AttentionTable | None:
    """The mean shares of all attentions of the fusion, averaged over seeds; None when no seed has them."""
    tables = [run.attention.mean for run in model.runs if run.attention is not None]
    return _mean(tables)


def shares(table: AttentionTable) -> NDArray[np.float64]:
    """The shares (queries, keys) of a table as an array, NaN where there is none."""
    return np.array([[np.nan if share is None else share for share in row] for row in table.shares], dtype=np.float64)


def _mean(tables: Sequence[AttentionTable]) -> AttentionTable | None:
    """The mean of those tables that have the form of the first, over those of them that know a share."""
    alike = [
        shares(table)
        for table in tables
        if (table.queries, table.keys) == (tables[0].queries, tables[0].keys) and _whole(table)
    ]
    if not alike:
        return None
    stacked = np.stack(alike)
    known = ~np.isnan(stacked)
    count = known.sum(0)
    total = np.where(known, stacked, 0.0).sum(0)
    values = [
        [float(share) if number else None for share, number in zip(row, numbers, strict=True)]
        for row, numbers in zip(total / np.maximum(count, 1), count, strict=True)
    ]
    return AttentionTable(queries=tables[0].queries, keys=tables[0].keys, shares=values)


def _whole(table: AttentionTable) -> bool:
    """Whether there is a share for every query and key, and at least one."""
    return (
        bool(table.queries and table.keys)
        and len(table.shares) == len(table.queries)
        and all(len(row) == len(table.keys) for row in table.shares)
    )
