"""A finished model applied to a table that it was not trained on, which may lack columns that the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from mmdistill.data.features import FeatureInfo, learnt_feature
from mmdistill.data.loader import Loader
from mmdistill.data.row_numbers import numbered
from mmdistill.data.store import PreparedRows, prepare
from mmdistill.data.table import Table
from mmdistill.errors import InputError, nearest
from mmdistill.models.any_model import AnyModel
from mmdistill.models.inference import collect

BATCH = 512


def prepared_for(model: AnyModel, table: Table, on_error: Literal["raise", "skip"] = "raise") -> PreparedRows:
    """The rows of a table as a model reads them, with the vocabulary and statistics it was trained with.

    A column of the model is left out where the table has none of its source columns; see `applied`.

    Raises:
        InputError: when the table has none of the model's columns, lacks one that the model cannot do without or a part
            of one, or has a cell that cannot be read.
    """
    refused = refusal(table, model)
    if refused is not None:
        raise refused
    lacking = lacking_columns(table, model)
    for column, info in model.features.items():
        if column not in lacking:
            _require_sources(table, info)
    features = [learnt_feature(info) for column, info in model.features.items() if column not in lacking]
    return prepare(table, features, np.zeros(0, dtype=np.int64), on_error=on_error)


def refusal(table: Table, model: AnyModel) -> InputError | None:
    """Why a model cannot be applied to a table that was not made for it; None where it can.

    A table that has a part of a column is another matter, which `prepared_for` refuses: likely a mistake in its header.
    """
    sources = [source for info in model.features.values() for source in info.sources]
    fix = f"The model reads: {', '.join(dict.fromkeys(sources))}"
    absent = [column for column, info in model.features.items() if _lacks(table, info)]
    if len(absent) == len(model.columns):
        return InputError("The table has none of the columns that the model reads", where=table.source, fix=fix)
    required = [column for column in absent if column in getattr(model, "required_columns", ())]
    if required:
        what = f"The table has no column for {required[0]!r}, which the model cannot do without"
        return InputError(what, where=table.source, fix=fix)
    return None


def applied(
    model: AnyModel, prepared: PreparedRows, rows: np.ndarray[Any, Any], taps: Sequence[str]
) -> dict[str, Tensor]:
    """Outputs of a model for some of the rows that `prepared_for` gave: tap → (rows, …), in rising order.

    Columns that were left out are absent in every row.
    """
    given = {column: info.name for column, info in model.features.items() if info.name in prepared.features}
    loader = Loader(prepared, {}, rows, BATCH, shuffle=False, features=list(given.values()))
    return collect(model, loader, taps, subset=given)


def lacking_columns(table: Table, model: AnyModel) -> list[str]:
    """The columns of a model that a table has nothing of, but for those that the model cannot do without."""
    required = getattr(model, "required_columns", ())
    return [column for column, info in model.features.items() if column not in required and _lacks(table, info)]


def absence_notes(table: Table, model: AnyModel, name: str) -> list[str]:
    """What to tell the user of columns that a table lacks, a sentence each.

    Args:
        table: the rows.
        model: that reads them.
        name: of the model.
    """
    return [
        f"{table.source} has no column for {column!r}: {name!r} takes it as absent in every row."
        for column in lacking_columns(table, model)
    ]


def _require_sources(table: Table, info: FeatureInfo) -> None:
    """Refuse a table that lacks a source of a column: where it has others of them, likely a mistake in its header."""
    missing = [source for source in info.sources if not _has(table, source)]
    if not missing:
        return
    hint = nearest(missing[0], list(table.columns))
    hint = f"{hint} " if hint.endswith("?") else ""
    raise InputError(
        f"The table has no column {missing[0]!r}, which the model reads for {info.column!r}",
        where=table.source,
        fix=f"{hint}Rename the column that holds it, or add one; cells that are not known may be empty",
    )


def _lacks(table: Table, info: FeatureInfo) -> bool:
    return not any(_has(table, source) for source in info.sources)


def _has(table: Table, source: str) -> bool:
    return source in table.columns or numbered(table, [source])
