"""What an encoder declares about itself."""

from __future__ import annotations

from dataclasses import dataclass

from mmdistill.catalog import Entry


@dataclass(frozen=True, kw_only=True)
class EncoderEntry(Entry):
    """A catalog entry of a kind such as ``image encoder``.

    Args:
        tokens: false where it gives one vector a row and nothing else, whatever it reads.
    """

    tokens: bool = True
