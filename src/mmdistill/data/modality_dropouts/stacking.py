"""Flags by column as one tensor, in an order that does not depend on the recipe's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def stacked(present: Mapping[str, Tensor]) -> Tensor:
    """Bool (B, M): the flags (B,) of the columns in sorted order."""
    return torch.stack([present[name] for name in sorted(present)], dim=-1)


def by_column(flags: Tensor, present: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Back from `stacked`: column → bool (B,)."""
    return dict(zip(sorted(present), flags.unbind(-1), strict=True))
