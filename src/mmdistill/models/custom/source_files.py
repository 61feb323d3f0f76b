"""Whether the file that a custom model is read from is still the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mmdistill.errors import InputError
from mmdistill.recipe.custom import CustomSpec


def file_digest(file: Path) -> bytes:
    """SHA-256 of a file's content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def source_digest(spec: CustomSpec) -> str | None:
    """SHA-256 of the program or the ONNX file of a specification, in hexadecimal digits; None for other sources.

    Raises:
        InputError: when the file is not there.
    """
    path = spec.program or spec.onnx
    if path is None:
        return None
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"There is no file {path}", where=f"custom.{spec.source}", fix="Put it back where it was")
    return file_digest(file).hex()
