"""Fusions of aligned sequences. Imports no torch."""

from __future__ import annotations

from pydantic import Field

from mmdistill.catalog import Options
from mmdistill.models.fusion.entry import FusionEntry

ROOM = "mmdistill.models.fusion"


class MemoryOptions(Options):
    """Options of the fusion `memory`."""

    hidden: int = Field(default=32, ge=1, description="Width of each column's LSTM.")
    memory: int = Field(default=64, ge=1, description="Width of the memory.")
    attention: int = Field(default=64, ge=1, description="Hidden width of the attention and of what it proposes.")
    gates: int = Field(default=64, ge=1, description="Hidden width of the two gates of the memory.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Chance of zeroing a hidden activation of them while training."
    )


ENTRIES = (
    FusionEntry(
        name="memory",
        target=f"{ROOM}.memory:MemoryFusion",
        options=MemoryOptions,
        summary="Memory fusion network: an LSTM a column, and a memory of what changes across them.",
        paper="Zadeh, Liang, Mazumder, Poria, Cambria and Morency, Memory Fusion Network for Multi-view Sequential "
        "Learning, AAAI 2018, arXiv:1802.00927",
        equation=r"u_t = \gamma_1 \odot u_{t-1} + \gamma_2 \odot \tanh(D_u \hat c), \quad \hat c = c_{[t-1, t]} "
        r"\odot \mathrm{softmax}(D_a c_{[t-1, t]}), \quad \gamma_i = \sigma(D_i [\hat c; u_{t-1}])",
        when="The columns are sequences with the same steps, such as the words of a video with the sound and the face "
        "at each word.",
        tokens="aligned",
    ),
)
