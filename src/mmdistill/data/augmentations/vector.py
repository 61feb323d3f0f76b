"""Vary vectors and sequences of vectors on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmdistill.data.augmentations.catalog import Augmentation, VectorAugmentation
from mmdistill.data.augmentations.rows import active_rows, partner_rows, statistic, varied
from mmdistill.data.broadcast import spread
from mmdistill.data.views import keys, normal_from, uniform, uniform_from

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo


def parameters(options: VectorAugmentation, seed: int, rows: Tensor, views: Tensor) -> dict[str, Tensor]:
    """How each row varies.

    Args:
        options: what is on, and how far.
        seed: of the column.
        rows: int64 (B,).
        views: int64 (B,); 0 gives parameters that change nothing.

    Returns:
        tensors (B,): `active` bool; `noise`, in standard deviations, with `noise_key`; the chances `drop` and `swap`
        of a dimension with `drop_key` and `swap_key`; `partner` in [0, 1), which other row is swapped with;
        `time_start`, `time_width` of a masked stretch, fractions of the length.
    """
    on = varied(views)
    draw = uniform(seed, rows, views, "vector", (3,)).unbind(-1)
    drawn = {"active": views != 0}
    if options.noise:
        drawn["noise"], drawn["noise_key"] = on * options.noise, keys(seed, rows, views, "vector noise")
    if options.drop:
        drawn["drop"], drawn["drop_key"] = on * options.drop, keys(seed, rows, views, "vector drop")
    if options.swap_rows:
        drawn["swap"], drawn["swap_key"] = on * options.swap_rows, keys(seed, rows, views, "vector swap")
        drawn["partner"] = draw[0]
    if options.time_mask:
        drawn["time_width"] = draw[1] * (on * options.time_mask)
        drawn["time_start"] = draw[2] * (1 - drawn["time_width"])
    return drawn


def apply(
    arrays: Mapping[str, Tensor], parameters: Mapping[str, Tensor], info: FeatureInfo, present: Tensor | None = None
) -> dict[str, Tensor]:
    """Carry the parameters out: swap, then noise, then dropping and masking, both by the mean of the training rows.

    Args:
        arrays: `values` float (B, D), or (B, T, D) with `mask` bool (B, T).
        parameters: of `parameters`.
        info: of the feature; its state holds `mean` and `std` of each dimension.
        present: bool (B,); rows without the column stay as they are and are not swapped with.

    Returns:
        the arrays with new `values`; lengths and padding stay. A swapped or dropped dimension is so for the whole
        sequence, as far as both rows reach. Time masks do nothing to a single vector.
    """
    before, mask = arrays["values"], arrays.get("mask")
    values = before
    if "swap" in parameters:
        partner = partner_rows(parameters["partner"])
        cells = _dimensions(parameters, "swap", values)
        if mask is not None:
            cells = cells & mask[partner][:, :, None]
        if present is not None:
            cells = cells & spread(present[partner], values)
        values = torch.where(cells, values[partner], values)
    if "noise" in parameters:
        deviation = statistic(info, "std", values.device).to(values.dtype)
        noise = normal_from(parameters["noise_key"], values.shape[1:])
        values = torch.addcmul(values, noise * deviation, spread(parameters["noise"], values))
    mean = statistic(info, "mean", values.device).to(values.dtype)
    if "drop" in parameters:
        values = torch.where(_dimensions(parameters, "drop", values), mean, values)
    if "time_start" in parameters and mask is not None:
        place = (torch.arange(mask.shape[1], device=mask.device) + 0.5) / mask.sum(1).clamp(min=1)[:, None]
        start = parameters["time_start"][:, None]
        stretch = (place >= start) & (place < start + parameters["time_width"][:, None])
        values = torch.where(stretch[:, :, None], mean, values)
    if values is before:
        return dict(arrays)
    touched = active_rows(parameters, present)
    touched = touched if mask is None else mask & touched[:, None]
    return {**arrays, "values": torch.where(spread(touched, values), values, before)}


def _dimensions(parameters: Mapping[str, Tensor], name: str, values: Tensor) -> Tensor:
    """bool (B, D) or (B, 1, D): the dimensions that a chance falls on."""
    chosen = uniform_from(parameters[f"{name}_key"], values.shape[-1:]) < parameters[name][:, None]
    return chosen if values.dim() == 2 else chosen[:, None, :]


AUGMENTATION = Augmentation(parameters, apply)
