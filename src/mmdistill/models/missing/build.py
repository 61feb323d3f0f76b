"""From a recipe's strategy for missing columns to the module."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from mmdistill.catalog import NoOptions
from mmdistill.models.missing.mask import Mask
from mmdistill.recipe.schema import Component


def build_missing(component: Component | None, dims: Mapping[str, int]) -> nn.Module:
    """The strategy for columns of the given widths; with one column there is nothing to fill in for a fusion.

    Args:
        component: name and options; `mask` when None.
        dims: width of each column's embedding and tokens.

    Raises:
        InputError: when there is no strategy of that name.
        pydantic.ValidationError: when an option is unknown or has a bad value.
    """
    if component is None or len(dims) == 1:
        return Mask(dims, NoOptions())
    strategy: nn.Module = component.build("missing strategy", dict(dims))
    return strategy
