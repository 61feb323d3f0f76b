"""From a recipe's fusion to the module."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from mmdistill.models.fusion.identity import Identity
from mmdistill.recipe.schema import Component

DEFAULT = Component(name="concat")


def build_fusion(component: Component | None, dims: Mapping[str, int]) -> nn.Module:
    """The fusion of columns of the given widths. One column needs none, whatever the recipe names.

    Args:
        component: name and options; concat when None.
        dims: width of each column's embedding.

    Raises:
        InputError: when there is no fusion of that name.
        pydantic.ValidationError: when an option is unknown or has a bad value.
    """
    if len(dims) == 1:
        return Identity(dims)
    return (component or DEFAULT).build("fusion", dict(dims))
