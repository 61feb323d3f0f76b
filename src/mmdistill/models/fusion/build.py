"""From a recipe's fusion to the module."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from torch import nn

from mmdistill import catalog
from mmdistill.models.fusion.entry import FusionEntry
from mmdistill.models.fusion.identity import Identity
from mmdistill.recipe.columns import pooled_column
from mmdistill.recipe.schema import Component

DEFAULT = Component(name="concat")


def build_fusion(
    component: Component | None,
    dims: Mapping[str, int],
    columns_with_tokens: Callable[[], Collection[str]] | None = None,
) -> nn.Module:
    """The fusion of columns of the given widths. One column needs none, whatever the recipe names.

    Args:
        component: name and options; concat when None.
        dims: width of each column's embedding and tokens.
        columns_with_tokens: which columns' encoders give tokens, asked only where it matters; None: taken as all.

    Raises:
        InputError: when there is no fusion of that name, or it needs tokens that a column does not give.
        pydantic.ValidationError: when an option is unknown or has a bad value.
    """
    component = component or DEFAULT
    entry = catalog.get("fusion", component.name, where="fusion")
    if len(dims) == 1:
        return Identity(dims)
    if isinstance(entry, FusionEntry) and entry.tokens == "aligned" and columns_with_tokens is not None:
        pooled = sorted(set(dims) - set(columns_with_tokens()))
        if pooled:
            raise pooled_column(entry.name, pooled[0])
    return component.build("fusion", dict(dims))
