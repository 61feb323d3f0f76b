"""Arrays in .npy and .npz files, read without pickle."""

from __future__ import annotations

import io
import threading
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mmdistill.data.modalities.archives import LARGER, hint, too_large
from mmdistill.data.modalities.base import CellError

_UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, SyntaxError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip
"""What NumPy and `zipfile` raise on files that are not what they say they are."""


def from_bytes(data: bytes, key: str | None) -> np.ndarray:
    """The array of a .npy file, or the array `key` of a .npz file (its only one when None), that is in memory.

    Raises:
        CellError: when it is neither, needs pickle, or has no such array.
    """
    try:
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            return np.asarray(loaded[choose(key, loaded.files)])
    except CellError:
        raise
    except _UNREADABLE as error:
        raise CellError(
            f"is no array that can be read without pickle ({error})", fix="Save it with numpy.save"
        ) from error


def choose(key: str | None, names: list[str]) -> str:
    """The name of the array wanted.

    Raises:
        CellError: when there is no such array, or several and none is named.
    """
    if key is None:
        if len(names) == 1:
            return names[0]
        raise CellError(f"leads to several arrays ({', '.join(names[:8])})", fix="Name one with `key`")
    if key not in names:
        raise CellError(f"leads to no array {key!r}", fix=hint(key, names) or f"There are: {', '.join(names[:8])}")
    return key


class RowArrays:
    """One array of a .npy or .npz file whose rows belong to the rows of the table.

    A .npy file is memory-mapped; an array of a .npz file, which may be compressed, is held in memory once.

    Args:
        file: path of the file.
        key: name of the array in a .npz file.
        max_bytes: a larger array of a .npz file is refused before it is read.
    """

    def __init__(self, file: Path, key: str | None, max_bytes: int) -> None:
        self._file, self._key, self._max_bytes = file, key, max_bytes
        self._array: np.ndarray | None = None
        self._lock = threading.Lock()

    def row(self, index: int) -> np.ndarray:
        """One row of the array.

        Raises:
            CellError: when the file cannot be read or has no such row.
        """
        array = self._open()
        if not 0 <= index < len(array):
            raise CellError(f"asks for row {index:,} of {self._file.name}, which has rows 0 to {len(array) - 1:,}")
        return np.asarray(array[index])

    def _open(self) -> np.ndarray:
        if self._array is None:
            with self._lock:
                if self._array is None:
                    self._array = self._load()
        return self._array

    def _load(self) -> np.ndarray:
        try:
            if self._file.suffix.lower() == ".npy":
                array = np.load(self._file, mmap_mode="r", allow_pickle=False)
            else:
                array = self._from_npz()
        except CellError:
            raise
        except FileNotFoundError as error:
            raise CellError(f"needs {self._file}, which is not there", fix="Check `root` of the column") from error
        except _UNREADABLE as error:
            raise CellError(f"needs {self._file}, which cannot be read without pickle ({error})") from error
        if array.ndim == 0:
            raise CellError(f"needs {self._file}, whose array has no rows")
        return array

    def _from_npz(self) -> np.ndarray:
        with np.load(self._file, allow_pickle=False) as archive:
            name = choose(self._key, archive.files)
            size = archive.zip.getinfo(f"{name}.npy").file_size
            if size > self._max_bytes:
                raise CellError(too_large(f"{self._file.name}/{name}", size, self._max_bytes), fix=LARGER)
            return np.asarray(archive[name])
