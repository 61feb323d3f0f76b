"""What stands at the positions of an attention, so that its weights can be read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

CLASS, BOTTLENECK, LATENT, QUERY = "class", "bottleneck", "latent", "query"
NOTHING = "nothing"
"""The extra key of zeros that every `Attention` has: what a query attends to when it turns away from all others."""


@dataclass(frozen=True)
class AttentionLayout:
    """The labels of the positions of one `Attention`.

    Args:
        queries: what stands at each query position: the name of a column for its positions, else a word for what is
            learned, such as ``class`` or ``latent``.
        keys: the same for each key position, without the extra key of zeros.
        column: the column that it belongs to, for one that has no say in rows without that column; None: it has one in
            every row.
    """

    queries: tuple[str, ...]
    keys: tuple[str, ...]
    column: str | None = None


@runtime_checkable
class ShowsAttention(Protocol):
    """A fusion that says where in it there is attention, and over what."""

    def attention_layout(self, lengths: Mapping[str, int]) -> dict[str, AttentionLayout]:
        """The layout of every `Attention` in it, by module path within the fusion.

        Args:
            lengths: how many tokens each column has in a batch, padding included; columns without may be left out.
        """
        ...


def learned_label(word: str, columns: Collection[str]) -> str:
    """The word for learned positions, in brackets where a column bears it as its name."""
    while word in columns:
        word = f"[{word}]"
    return word
