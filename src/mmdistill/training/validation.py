"""What a look at the validation rows tells."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

NO_COLUMNS: Mapping[str, float] = MappingProxyType({})


class Validation(NamedTuple):
    """The score that selects weights, and what the probes of the columns have reached.

    Args:
        score: in the primary metric.
        columns: see `ModalityBalance.validated`.
    """

    score: float
    columns: Mapping[str, float] = NO_COLUMNS
