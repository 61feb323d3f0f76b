"""Line-by-line reading of UTF-8 text files, plain or gzip, with errors that name the line."""

from __future__ import annotations

import gzip
import io
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mmdistill.errors import InputError

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip when its name ends with ``.gz``."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


@contextmanager
def text_lines(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a UTF-8 file, line ends kept as they are and a byte order mark dropped.

    Raises:
        InputError: while the lines are read: bytes that are not UTF-8, a NUL byte (with the line number), a damaged
            gzip stream, or a file that the system does not let us read.
    """
    try:
        with io.TextIOWrapper(open_bytes(path), encoding="utf-8-sig", newline="") as file:
            yield _without_nul(path, file)
    except UnicodeDecodeError as error:
        raise _undecodable(path) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"The gzip file is damaged or cut short ({error})", where=path.name, fix="Copy it again"
        ) from error
    except OSError as error:
        raise InputError(f"The file cannot be read ({error.strerror or error})", where=str(path)) from error


def _without_nul(path: Path, file: IO[str]) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        if "\0" in line:
            raise InputError(
                "There is a NUL byte",
                where=f"{path.name}, line {number}",
                fix="Remove it, or store binary data as files",
            )
        yield line


def _undecodable(path: Path) -> InputError:
    """Find the first line that is not UTF-8: a text wrapper decodes ahead and cannot tell."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and line.startswith(_UTF16_MARKS):
                return InputError("The file is UTF-16", where=path.name, fix="Save it as UTF-8")
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return InputError(
                    f"Byte {error.start + 1} of the line (0x{byte:02x}) is not UTF-8",
                    where=f"{path.name}, line {number}",
                    fix="Save the file as UTF-8",
                )
    return InputError("The file is not UTF-8", where=path.name, fix="Save it as UTF-8")


class LineNumbers:
    """The line on which each row starts, kept as the few places where the distance from row to line changes."""

    def __init__(self) -> None:
        self._rows, self._distances = array("q"), array("q")

    def add(self, row: int, line: int) -> None:
        """Note that `row` (from 0, in increasing order) starts on `line` (from 1)."""
        if not self._rows or self._distances[-1] != line - row:
            self._rows.append(row)
            self._distances.append(line - row)

    def line(self, row: int) -> int:
        """The line on which `row` starts."""
        return row + self._distances[bisect_right(self._rows, row) - 1]
