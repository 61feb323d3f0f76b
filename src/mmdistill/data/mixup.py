"""Mixup: a row becomes a blend of itself and another row of its batch.

Zhang et al., 2018, "mixup: beyond empirical risk minimization": x = λ·x_i + (1 - λ)·x_j with λ ~ Beta(α, α), one λ
for each row.

Partners are drawn among rows that have the same columns and the same labelled tasks. So a row's columns are all blended
or none, targets and inputs always tell the same share, labelled rows stay wholly labelled, and unlabelled rows blend
with unlabelled rows, for the teacher to judge. A row that is alone of its kind stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmdistill.data.broadcast import spread
from mmdistill.data.views import derive, keys, uniform
from mmdistill.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mmdistill.data.features import FeatureInfo


_KNOTS = 4096


def require_mixable(infos: Iterable[FeatureInfo]) -> None:
    """Check that every feature holds continuous numbers only, whose blend means something.

    Raises:
        InputError: for a feature with whole numbers or flags, such as text or categories.
    """
    for info in infos:
        for name, spec in info.arrays.items():
            dtype = np.dtype(spec.dtype)
            if dtype.kind != "f" and dtype != np.uint8:
                raise InputError(
                    f"mixup cannot blend the {info.type} column {info.column!r}: its {name} are not continuous",
                    where="train.mixup",
                    fix="Leave mixup out, or train on image, audio and vector columns only",
                )


class Mixup:
    """Draws partners and shares, and blends features.

    Args:
        alpha: of Beta(α, α), above 0: small, most rows stay almost themselves or become almost the partner; 1, every
            share is as likely as any other; large, about a half each.
        seed: any integer.
    """

    def __init__(self, alpha: float, seed: int) -> None:
        if not alpha > 0:
            raise InputError(f"mixup is {alpha}, but must be above 0", where="train.mixup", fix="Use 0.2, for example")
        from scipy.special import betaincinv

        self.alpha, self.seed = alpha, seed
        # The quantile function turns a uniform number into a share without rejection, which a counter-based draw cannot
        # do; a share is off by less than the step between two knots.
        quantiles = betaincinv(alpha, alpha, np.linspace(0.0, 1.0, _KNOTS + 1))
        self._quantiles = torch.from_numpy(quantiles.astype(np.float32))

    def shares(self, rows: Tensor, views: Tensor) -> Tensor:
        """Each row's share of itself, float32 (B,) in [0, 1], by (row, view)."""
        if self._quantiles.device != rows.device:
            self._quantiles = self._quantiles.to(rows.device)
        place = uniform(self.seed, rows, views, "mixup share").mul_(_KNOTS)
        below = place.to(torch.int64)
        return torch.lerp(self._quantiles[below], self._quantiles[below + 1], place - below)

    def partners(self, rows: Tensor, views: Tensor, kinds: Mapping[str, Tensor]) -> Tensor:
        """Each row's partner as a position in the batch, int64 (B,): a random other row of the same kind, or itself.

        Args:
            rows: int64 (B,).
            views: int64 (B,).
            kinds: names to bool (B,); two rows are of one kind when all of these agree.
        """
        kind = torch.zeros_like(rows)
        for name, flag in kinds.items():
            kind += flag * derive(0, name)
        # Sorted by kind and, within a kind, at random, each row takes the next one and the last of a kind the first.
        shuffled = keys(self.seed, rows, views, "mixup partner").argsort()
        sorted_kind, order = kind[shuffled].sort(stable=True)
        order = shuffled[order]
        position = torch.arange(len(rows), device=rows.device)
        first = torch.searchsorted(sorted_kind, sorted_kind)
        ends = torch.ones_like(position, dtype=torch.bool)
        ends[:-1] = sorted_kind[1:] != sorted_kind[:-1]
        following = torch.where(ends, first, position + 1)
        return torch.empty_like(position).scatter_(0, order, order[following])

    def draw(self, rows: Tensor, views: Tensor, kinds: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Partner (int64 (B,), positions in the batch) and share of the row itself (float32 (B,)); see `partners`."""
        partner = self.partners(rows, views, kinds)
        alone = partner == torch.arange(len(rows), device=rows.device)
        return partner, self.shares(rows, views).masked_fill_(alone, 1.0)


def blend(arrays: Mapping[str, Tensor], partner: Tensor, share: Tensor) -> dict[str, Tensor]:
    """Blend one feature of each row with its partner's.

    Where only one of two sequences reaches, its elements stand alone, and the blend is as long as the longer of the
    two.

    Args:
        arrays: float or uint8 (B, …), sequences with `mask` bool (B, T).
        partner: int64 (B,), positions in the batch.
        share: float32 (B,), the row's own share.

    Returns:
        the same names, values as float32 (or the float type they had).
    """
    mask = arrays.get("mask")
    other_mask = None if mask is None else mask[partner]
    blended = {}
    for name, own in arrays.items():
        if name == "mask":
            continue
        own = own if own.is_floating_point() else own.to(torch.float32)
        other = own[partner]
        mixed = torch.lerp(other, own, spread(share.to(own.dtype), own))
        if mask is not None and other_mask is not None:
            mixed = torch.where(spread(mask & other_mask, own), mixed, torch.where(spread(mask, own), own, other))
        blended[name] = mixed
    if mask is not None and other_mask is not None:
        blended["mask"] = mask | other_mask
    return blended
