"""The memory that a forward pass holds at once."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class _LiveBytes(TorchDispatchMode):
    """Follows the storages of the tensors that operations give, and the most bytes that were alive together.

    A storage is alive while a tensor made here refers to it; what an operation uses inside itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._references: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, Tensor):
                self._follow(value, args)
        return result

    def _follow(self, tensor: Tensor, args: Any) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._references:
            if any(isinstance(value, Tensor) and value.untyped_storage()._cdata == key for value in tree_iter(args)):
                return  # a view of something that was there before
            self.now += size
            self.peak = max(self.peak, self.now)
        self._references[key] = self._references.get(key, 0) + 1
        weakref.finalize(tensor, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._references[key] -= 1
        if not self._references[key]:
            del self._references[key]
            self.now -= size


def peak_bytes(model: nn.Module, *inputs: Any, device: torch.device) -> int:
    """Bytes of weights, buffers and the activations alive together in ``model(*inputs)``, at their highest.

    On CUDA this is what the allocator gave out; elsewhere it is followed operation by operation, without the work space
    inside operations.
    """
    weights = sum(value.numel() * value.element_size() for value in (*model.parameters(), *model.buffers()))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        model(*inputs)
        torch.cuda.synchronize(device)
        return weights + torch.cuda.max_memory_allocated(device) - before
    with _LiveBytes() as live:
        model(*inputs)
    return weights + live.peak
