"""What the options of every modality dropout have in common. Imports no torch."""

from __future__ import annotations

from mmdistill.catalog import Options


class DropoutOptions(Options):
    """Options of a modality dropout; with a method that says which subsets it can make."""

    def makes(self, shown: frozenset[str], had: frozenset[str]) -> bool:
        """Whether a row that has the columns `had` may be shown exactly the columns `shown`, which is not empty."""
        return shown <= had
