"""From a recipe's modality dropout to the module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from mmdistill import catalog
from mmdistill.data.modality_dropouts.dropout import ModalityDropout
from mmdistill.recipe.schema import Component


def build_dropout(
    component: Component | None, columns: Sequence[str], *, seed: int, total_steps: int
) -> ModalityDropout | None:
    """The dropout of a model; None where none is asked for or there is one column, which always stays.

    Args:
        component: name and options.
        columns: that the model reads.
        seed: of the run.
        total_steps: optimiser steps of the training.

    Raises:
        InputError: when there is no distribution of that name, or it names a column that the model does not read.
        pydantic.ValidationError: when an option is unknown or has a bad value.
    """
    if component is None or len(columns) < 2:
        return None
    kind = "modality dropout"
    made = catalog.get(kind, component.name, where="modality_dropout").load()
    return cast(ModalityDropout, made(tuple(columns), component.options(kind), seed=seed, total_steps=total_steps))
