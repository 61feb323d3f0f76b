"""Files that are whole or not there: written aside, flushed, renamed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mmdistill.errors import MMDistillError


def write_whole(path: Path, content: str | bytes) -> Path:
    """Write a file so that nobody ever sees a part of it. Text is written as UTF-8.

    Raises:
        MMDistillError: when the disk is full or the folder cannot be written; what stood there before is untouched.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise MMDistillError(
            f"The file cannot be written: {error.strerror or error}",
            where=str(path),
            fix="Free some space or choose a folder that can be written",
        ) from error
    return path
