"""The tables that come with the package, and the recipe of the demonstration. Imports no torch.

A sample's entry names a function without arguments that returns the path of its table.
"""

from __future__ import annotations

from pathlib import Path

from mmdistill.catalog import Entry, register

_FOLDER = Path(__file__).parent


def digits() -> Path:
    """The Parquet file of the sample `digits`; docs/samples/digits.md says what it holds and where it comes from."""
    return _FOLDER / "digits.parquet"


def demo_recipe() -> Path:
    """The recipe that `mmdistill demo` runs."""
    return _FOLDER / "digits.yaml"


register(
    Entry(
        "sample",
        "digits",
        f"{__name__}:digits",
        summary="1,797 handwritten digits, each spoken by a synthetic voice and with a short typed note.",
    )
)
