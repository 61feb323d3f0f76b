"""Files that are either whole or not there: written aside, flushed, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdistill.errors import InputError, MMDistillError

DISK_ERRORS = {
    errno.ENOSPC: "The disk is full",
    errno.EDQUOT: "The disk quota is used up",
    errno.EFBIG: "The file is too large",
}
ACCESS_ERRORS = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turn the operating system's errors on writing below `path` into one clear sentence.

    Raises:
        MMDistillError: when the disk is full (exit status 1).
        InputError: when the folder may not be written to (exit status 2).
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise MMDistillError(
                DISK_ERRORS[error.errno], where=str(path), fix="Free some space and run the same command again"
            ) from error
        if error.errno in ACCESS_ERRORS:
            raise InputError(
                "This folder cannot be written to", where=str(path), fix="Choose another folder or change its rights"
            ) from error
        raise


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is flushed and renamed to `path`, else removed."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
        aside.touch(exist_ok=False)
        try:
            yield aside
            with aside.open("rb+") as stream:
                os.fsync(stream.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Any) -> None:
    """Write JSON with an indent of one, whole or not at all; NaN and infinity are refused."""
    write_text(path, json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: when it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("There is no such file", where=str(path)) from None
    except ValueError as error:
        raise InputError(f"The file is damaged ({error})", where=str(path), fix="Remove it and run again") from None
