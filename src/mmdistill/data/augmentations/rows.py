"""What the augmentations share: which rows vary, statistics of a feature on the device, partners within a batch."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo

_constants: dict[tuple[int, str, torch.device], Tensor] = {}


def varied(views: Tensor) -> Tensor:
    """float32 (B,): 1 for rows that vary and 0 for view 0; amounts are multiplied by it."""
    return (views != 0).to(torch.float32)


def active_rows(parameters: Mapping[str, Tensor], present: Tensor | None) -> Tensor:
    """bool (B,): rows whose view varies them and whose modality is present."""
    active = parameters["active"]
    return active if present is None else active & present


def statistic(info: FeatureInfo, name: str, device: torch.device, values: Any = None) -> Tensor:
    """Numbers of a feature as a tensor on the device, copied there once for each `info`.

    A copy in every step would make the host wait for the device.

    Args:
        info: the feature.
        name: key of ``info.state``, or a name of one's own with `values`.
        device: where the tensor is wanted.
        values: the numbers, or a function that gives them; ``info.state[name]`` when left out.
    """
    key = (id(info), name, device)
    held = _constants.get(key)
    if held is None:
        numbers = info.state[name] if values is None else values() if callable(values) else values
        held = _constants[key] = torch.as_tensor(numbers).to(device)
        weakref.finalize(info, _constants.pop, key, None)
    return held


def partner_rows(draws: Tensor) -> Tensor:
    """Another position of the batch for each row, int64 (B,), from uniform `draws` (B,); 0 for a batch of one row."""
    count = len(draws)
    step = (draws * (count - 1)).to(torch.int64) + 1
    return (torch.arange(count, device=draws.device) + step) % count
