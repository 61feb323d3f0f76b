"""Subsets of columns that a model is asked for and was never trained with. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mmdistill.data.modality_dropouts.options import DropoutOptions
from mmdistill.recipe.schema import Component

KIND = "modality dropout"
Presence = Mapping[str, npt.ArrayLike]


def patterns(present: Presence, columns: Sequence[str]) -> dict[tuple[str, ...], int]:
    """The different sets of columns that rows have, with how many rows have each; the most frequent first.

    Args:
        present: column → bool (N,), which rows have it.
        columns: that are looked at.
    """
    flags = np.stack([np.asarray(present[column], dtype=np.bool_) for column in columns], axis=1)
    if not len(flags):
        return {}
    found, counts = np.unique(flags, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {
        tuple(column for column, there in zip(columns, found[index].tolist(), strict=True) if there): int(counts[index])
        for index in order
    }


def never_seen(
    scored: Iterable[Collection[str]], trained: Presence, columns: Sequence[str], dropout: Component | None = None
) -> list[str]:
    """The subsets that no training row has and that modality dropout cannot make of one, by name.

    Args:
        scored: subsets of the model's columns that it is asked for, such as `patterns` of other rows, or all that it is
            scored with. The empty one is not looked at.
        trained: column → bool (N,), which training rows have it.
        columns: that the model reads.
        dropout: the model's modality dropout. Of one whose options do not say what it makes, everything is expected.

    Returns:
        The columns joined by ``+``, in the order of `scored` and of the columns in each of its subsets.
    """
    options = None if dropout is None else dropout.options(KIND)
    had = [frozenset(pattern) for pattern in patterns(trained, columns)]
    return ["+".join(subset) for subset in scored if subset and not any(_made(options, subset, one) for one in had)]


def _made(options: object, subset: Collection[str], had: frozenset[str]) -> bool:
    """Whether a row that has the columns `had` is sometimes shown as exactly `subset`."""
    shown = frozenset(subset)
    if options is None:
        return shown == had
    return options.makes(shown, had) if isinstance(options, DropoutOptions) else shown <= had
