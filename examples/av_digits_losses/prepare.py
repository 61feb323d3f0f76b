"""The pairs of examples/av_digits, which this example reads as they are: runs that example's prepare.py."""

from __future__ import annotations

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).resolve().parent.parent / "av_digits" / "prepare.py"), run_name="__main__")
