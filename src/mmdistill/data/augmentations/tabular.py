"""Vary rows of numbers and categories on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmdistill.data.augmentations.catalog import Augmentation, TabularAugmentation
from mmdistill.data.augmentations.rows import active_rows, partner_rows, statistic, varied
from mmdistill.data.views import keys, normal_from, uniform, uniform_from

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo

_MISSING_CATEGORY = 0


def parameters(options: TabularAugmentation, seed: int, rows: Tensor, views: Tensor) -> dict[str, Tensor]:
    """How each row varies.

    Args:
        options: what is on, and how far.
        seed: of the column.
        rows: int64 (B,).
        views: int64 (B,); 0 gives parameters that change nothing.

    Returns:
        tensors (B,): `active` bool; `noise`, in standard deviations, with `noise_key`; the chances `swap` and
        `missing`, with the keys of the draws for numbers and categories (`swap_numeric_key`, …); `partner` in [0, 1),
        which other row is swapped with.
    """
    on = varied(views)
    drawn = {"active": views != 0}
    if options.noise:
        drawn["noise"], drawn["noise_key"] = on * options.noise, keys(seed, rows, views, "tabular noise")
    if options.swap_rows:
        drawn["partner"] = uniform(seed, rows, views, "tabular partner")
    for name, chance in (("swap", options.swap_rows), ("missing", options.missing)):
        if chance:
            drawn[name] = on * chance
            for kind in ("numeric", "categorical"):
                drawn[f"{name}_{kind}_key"] = keys(seed, rows, views, f"tabular {name} {kind}")
    return drawn


def apply(
    arrays: Mapping[str, Tensor], parameters: Mapping[str, Tensor], info: FeatureInfo, present: Tensor | None = None
) -> dict[str, Tensor]:
    """Carry the parameters out: swap, then noise, then marking as missing.

    Swapping some values for those of another row is the corruption of SCARF (Bahri et al., 2022).

    Args:
        arrays: `numeric` float (B, N), standardised; `categorical` int64 (B, K), 0 where missing; `missing` bool (B,
            N).
        parameters: of `parameters`.
        info: of the feature; its state tells what stands for a missing number.
        present: bool (B,); rows without the column stay as they are and are not swapped with.

    Returns:
        the arrays with new values. A missing number stays what stands for it.
    """
    numeric, categorical, missing = arrays["numeric"], arrays["categorical"], arrays["missing"]
    active = active_rows(parameters, present)[:, None]
    if "swap" in parameters:
        partner = partner_rows(parameters["partner"])
        swappable = active if present is None else active & present[partner][:, None]
        cells = swappable & _chosen(parameters, "swap", "numeric", numeric)
        numeric = torch.where(cells, numeric[partner], numeric)
        missing = torch.where(cells, missing[partner], missing)
        cells = swappable & _chosen(parameters, "swap", "categorical", categorical)
        categorical = torch.where(cells, categorical[partner], categorical)
    if "noise" in parameters:
        noise = normal_from(parameters["noise_key"], numeric.shape[1:]) * parameters["noise"][:, None]
        numeric = torch.where(active & ~missing, numeric + noise, numeric)
    if "missing" in parameters:
        cells = active & _chosen(parameters, "missing", "numeric", numeric)
        numeric = torch.where(cells, _stand_in(info, numeric.device), numeric)
        missing = missing | cells
        cells = active & _chosen(parameters, "missing", "categorical", categorical)
        categorical = categorical.masked_fill(cells, _MISSING_CATEGORY)
    return {**arrays, "numeric": numeric, "categorical": categorical, "missing": missing}


def _stand_in(info: FeatureInfo, device: torch.device) -> Tensor:
    """What stands for each missing number, float32 (N,)."""
    fills = [column["fill"] for column in info.state["numeric"]]
    return statistic(info, "fill of missing numbers", device, fills)


def _chosen(parameters: Mapping[str, Tensor], name: str, kind: str, values: Tensor) -> Tensor:
    """bool (B, N): the cells that a chance falls on."""
    draws = uniform_from(parameters[f"{name}_{kind}_key"], values.shape[1:])
    return draws < parameters[name][:, None]


AUGMENTATION = Augmentation(parameters, apply)
