"""Reading `results.json`: what is wrong with a file is said in words, naming the key.

Gains that speak of models which are not there are left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmdistill.errors import InputError
from mmdistill.report.results import Gain, Results

FORMAT = 1
"""The newest format of `results.json` that this version reads."""


def parse_results(content: Any, where: str = "results.json") -> Results:
    """Check the content of a `results.json`.

    Raises:
        InputError: when something that every run has is missing or has a wrong type, naming the key; or when the
            results were written by a newer version.
    """
    if isinstance(content, dict) and isinstance(content.get("format"), int) and content["format"] > FORMAT:
        raise InputError(
            f"The results have format {content['format']}, and this version reads up to {FORMAT}",
            where=where,
            fix="Update mmdistill, or run the recipe again with this version",
        )
    try:
        results = Results.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = f"{key!r} is missing" if first["type"] == "missing" else f"{key!r}: {first['msg']}"
        raise InputError(
            f"The results are damaged or not finished: {what}",
            where=where,
            fix="Run the recipe again with `mmdistill run`; finished parts are not repeated",
        ) from error
    return _without_dangling_gains(results)


def _without_dangling_gains(results: Results) -> Results:
    """Results whose gains all speak of models that are there."""

    def known(gain: Gain | None) -> bool:
        return gain is not None and gain.student in results.models and gain.baseline in results.models

    return results.model_copy(
        update={
            "gain": results.gain if known(results.gain) else None,
            "gains": [gain for gain in results.gains if known(gain)],
        }
    )


def read_results(path: Path) -> Results:
    """Read `results.json`.

    Raises:
        InputError: when the file cannot be read, is not JSON, or is not what a finished run leaves.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The results cannot be read: {error}", where=str(path)) from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"The file is not JSON ({error.msg})",
            where=f"{path}, line {error.lineno}",
            fix="Run the recipe again with `mmdistill run`; finished parts are not repeated",
        ) from error
    return parse_results(content, str(path))
