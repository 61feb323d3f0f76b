"""Numbers too small to matter are taken as zero while training on a CPU.

Moments of an optimiser decay towards zero and pass through the denormal range, where a processor is many times slower:
with Adam, epochs would become slower as training goes on. The switch belongs to the thread, so it is set around a
training and never left on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Flush denormal numbers to zero inside, where the processor can; afterwards as PyTorch starts, not flushed."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
