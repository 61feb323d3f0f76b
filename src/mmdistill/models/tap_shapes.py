"""The shapes of a model's outputs, found by running it on almost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmdistill.models.modes import evaluating

if TYPE_CHECKING:
    from mmdistill.data.features import FeatureInfo
    from mmdistill.models.custom.model import Watched
    from mmdistill.models.multimodal import MultimodalModel

ROWS = 2


def probe_lengths(info: FeatureInfo) -> tuple[int, int]:
    """Two sequence lengths that every encoder's strides leave different, short enough to be cheap.

    Token ids are few, since learned positions may allow few; sound has its frames halved several times over.
    """
    values = info.arrays.get("values")
    if info.type == "audio":
        frames = 1 if values is not None and values.shape else info.settings.get("sample_rate", 16_000) // 100
        return 64 * frames, 128 * frames
    return 3, 4


def example_arrays(info: FeatureInfo, rows: int, length: int, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Zeros in the form of a feature's arrays, a batch of `rows` whose sequences all have `length`."""
    arrays: dict[str, Tensor] = {}
    for name, spec in info.arrays.items():
        shape = (rows, length, *spec.shape) if spec.sequence else (rows, *spec.shape)
        arrays[name] = torch.zeros(shape, dtype=getattr(torch, spec.dtype), device=device)
        if spec.sequence:
            arrays["mask"] = torch.ones(rows, length, dtype=torch.bool, device=device)
    return arrays


@torch.no_grad()
def gives_tokens(encoder: nn.Module, info: FeatureInfo) -> bool:
    """Whether an encoder hands over tokens beside its embedding, found by a small pass in eval mode."""
    with evaluating(encoder):
        return encoder(example_arrays(info, ROWS, probe_lengths(info)[0])).tokens is not None


def tap_shapes(model: MultimodalModel | Watched) -> dict[str, tuple[int | None, ...]]:
    """Every tap with its shape per row; None stands for a length that depends on the input's."""
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    varies = any(spec.sequence for info in model.features.values() for spec in info.arrays.values())
    runs: list[dict[str, Tensor]] = []
    with torch.no_grad(), evaluating(model):
        for attempt in (0, 1) if varies else (0,):
            features = {
                info.name: example_arrays(info, ROWS, probe_lengths(info)[attempt], device)
                for info in model.features.values()
            }
            runs.append(model(features))
    first, last = runs[0], runs[-1]
    return {tap: _common(first[tap], last[tap]) for tap in first}


def _common(first: Tensor, last: Tensor) -> tuple[int | None, ...]:
    pairs = zip(first.shape[1:], last.shape[1:], strict=True)
    return tuple(size if size == other else None for size, other in pairs)
