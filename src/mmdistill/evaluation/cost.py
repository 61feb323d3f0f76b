"""What a model costs: parameters, bytes, multiply-adds, latency, memory.

Inputs are the two entries of a batch that a model reads, ``(features, present)``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from mmdistill.errors import MMDistillError
from mmdistill.evaluation.memory import peak_bytes
from mmdistill.evaluation.multiply_adds import multiply_adds
from mmdistill.models.modes import evaluating

WARM_UP = 5
COUNTED_ROWS = 8
BATCHES = {"batch_1": 1, "batch_64": 64}


def parameters(model: nn.Module) -> int:
    """The number of parameters, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def saved_bytes(model: nn.Module) -> int:
    """Bytes of the parameters and saved buffers, shared ones once, with floating-point numbers as float32."""
    unique = {id(value): value for value in model.state_dict(keep_vars=True).values() if isinstance(value, Tensor)}
    return sum(value.numel() * (4 if value.is_floating_point() else value.element_size()) for value in unique.values())


def model_cost(model: nn.Module, features: Any, present: Any, *, repeats: int = 30) -> dict[str, Any]:
    """The cost of a model, as it goes into ``results.json``.

    Everything is measured in eval mode without gradient, on the device that the inputs are on; every module is put back
    into its own mode.

    Args:
        model: called as ``model(features, present)``.
        features: feature name → arrays, rows first, of at least one row; as a batch of the loader has them.
        present: column → bool (B,).
        repeats: timed passes behind each latency.

    Returns:
        ``parameters``; ``megabytes`` (10⁶ bytes) of the weights as float32; ``multiply_adds`` of one row, the mean over
        the first rows given, with the padding they have; ``latency_ms`` of a batch of 1 and of 64 rows, medians;
        ``peak_megabytes`` that a batch of 64 holds at once, weights included; ``device``.

    Raises:
        MMDistillError: when there are no rows.
    """
    rows = _row_count(features)
    device = _any_tensor(features).device
    if rows == 0:
        raise MMDistillError("The cost of a model cannot be measured on an empty batch")
    with evaluating(model), torch.inference_mode():
        counted = min(rows, COUNTED_ROWS)
        work = sum(multiply_adds(model, *_rows(features, present, [row])) for row in range(counted)) / counted
        latency = {}
        for name, size in BATCHES.items():
            inputs = _rows(features, present, [row % rows for row in range(size)])
            latency[name] = _median_ms(model, inputs, device, repeats)
        peak = peak_bytes(model, *_rows(features, present, [row % rows for row in range(64)]), device=device)
    return {
        "parameters": parameters(model),
        "megabytes": saved_bytes(model) / 1e6,
        "multiply_adds": round(work),
        "latency_ms": latency,
        "peak_megabytes": peak / 1e6,
        "device": str(device),
    }


def _median_ms(model: nn.Module, inputs: tuple[Any, Any], device: torch.device, repeats: int) -> float:
    def timed() -> float:
        _synchronise(device)
        start = time.perf_counter()
        model(*inputs)
        _synchronise(device)
        return (time.perf_counter() - start) * 1000

    for _ in range(WARM_UP):
        timed()
    return statistics.median(timed() for _ in range(repeats))


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _rows(features: Any, present: Any, rows: list[int]) -> tuple[Any, Any]:
    index = torch.tensor(rows, device=_any_tensor(features).device)
    return _take(features, index), _take(present, index)


def _take(values: Any, index: Tensor) -> Any:
    """The rows of a tensor, a TensorDict, or a mapping of such."""
    if isinstance(values, Tensor | TensorDictBase):
        return values[index]
    return {name: _take(value, index) for name, value in values.items()}


def _any_tensor(values: Any) -> Tensor:
    while isinstance(values, Mapping | TensorDictBase):
        if not len(list(values.keys())):
            raise MMDistillError("The cost of a model cannot be measured without features")
        values = next(iter(values.values()))
    tensor: Tensor = values
    return tensor


def _row_count(features: Any) -> int:
    return len(_any_tensor(features))
