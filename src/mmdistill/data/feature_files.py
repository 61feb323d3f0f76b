"""One prepared feature on disk: raw arrays, offsets of sequences, presence, and ``meta.json`` that describes them.

The folder is written aside under a name with a dot and renamed when it is whole. Files are written with plain writes,
never through a growing memory map, so that a full disk is an error that can be told and not a signal that kills.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from mmdistill.data.cache import META, disk_errors
from mmdistill.data.extraction import Block
from mmdistill.data.features import FeatureInfo
from mmdistill.data.fingerprint import FORMAT

PRESENT, OFFSETS = "present", "offsets"
_VERIFIED_BYTES = 128_000_000  # up to this size the content is held against its checksums whenever it is opened
_WRITING = "Writing prepared rows"


class Damaged(Exception):
    """A prepared feature that is not what its description says."""


@dataclass(frozen=True)
class Opened:
    """A prepared feature whose files are mapped into memory, read-only on disk.

    Args:
        info: what it holds.
        arrays: (rows, ...), or all elements of a sequence one after another.
        offsets: int64 (rows + 1,) of a sequence.
        present: bool (rows,).
        bad: (row, reason, fix) of rows that could not be read.
        nbytes: size on disk.
    """

    info: FeatureInfo
    arrays: dict[str, Tensor]
    offsets: Tensor | None
    present: Tensor
    bad: list[tuple[int, str, str]]
    nbytes: int


class _RawFile:
    """A file of raw values, written from front to back with its checksum."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        self.path, self._dtype, self._shape = path, dtype, shape
        self._digest = hashlib.sha256()
        self._bytes, self._count = 0, 0
        self._stream: IO[bytes] = path.open("wb")

    def write(self, values: np.ndarray) -> None:
        data = np.ascontiguousarray(values, dtype=self._dtype).reshape(-1).view(np.uint8).data
        self._stream.write(data)
        self._digest.update(data)
        self._bytes += data.nbytes
        self._count += len(values)

    def finish(self) -> dict[str, Any]:
        """Flush to the disk and describe."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        return {
            "dtype": self._dtype,
            "shape": list(self._shape),
            "count": self._count,
            "bytes": self._bytes,
            "sha256": self._digest.hexdigest(),
        }

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.close()


class FeatureWriter:
    """Writes one feature block by block; `finish` puts it in its place, `abandon` leaves nothing behind.

    Args:
        folder: where prepared features are kept.
        fingerprint: name of this one.
        info: what is written.
        summary: a few words for the list of the cache.

    Raises:
        MMDistillError: (all methods) when the disk is full or the folder cannot be written.
    """

    def __init__(self, folder: Path, fingerprint: str, info: FeatureInfo, summary: str) -> None:
        self._folder, self._name, self.info, self._summary = folder, fingerprint, info, summary
        self._aside = folder / f".{fingerprint}.{os.getpid()}-{secrets.token_hex(4)}"
        self._files: dict[str, _RawFile] = {}
        self._rows, self._elements = 0, 0
        self.bad: list[tuple[int, str, str]] = []
        try:
            with disk_errors(folder, _WRITING):
                self._aside.mkdir(parents=True)
                for name, spec in info.arrays.items():
                    self._files[name] = _RawFile(self._aside / f"{name}.bin", spec.dtype, spec.shape)
                self._files[PRESENT] = _RawFile(self._aside / f"{PRESENT}.bin", "bool", ())
                if any(spec.sequence for spec in info.arrays.values()):
                    self._files[OFFSETS] = _RawFile(self._aside / f"{OFFSETS}.bin", "int64", ())
                    self._files[OFFSETS].write(np.zeros(1, np.int64))
        except BaseException:
            self.abandon()
            raise

    def write(self, block: Block) -> None:
        """Append the rows of a block."""
        with disk_errors(self._folder, _WRITING):
            for name, values in block.arrays.items():
                self._files[name].write(values)
            self._files[PRESENT].write(block.present)
            if block.lengths is not None:
                ends = self._elements + np.cumsum(block.lengths)
                self._files[OFFSETS].write(ends)
                self._elements = int(ends[-1])
        self.bad += [(self._rows + index, error.reason, error.fix) for index, error in block.bad]
        self._rows += len(block.present)

    def finish(self) -> None:
        """Flush, describe, and rename into place; what another process has put there meanwhile stays."""
        with disk_errors(self._folder, _WRITING):
            content = {
                "format": FORMAT,
                "summary": f"{self._summary}, {self._rows:,} rows",
                "rows": self._rows,
                "info": self.info.to_json(),
                "files": {name: file.finish() for name, file in self._files.items()},
                "bad": self.bad,
            }
            document = json.dumps({"sha256": _digest(content), "content": content}, ensure_ascii=False)
            with (self._aside / META).open("w", encoding="utf-8") as stream:
                stream.write(document)
                stream.flush()
                os.fsync(stream.fileno())
            _sync_folder(self._aside)
            target = self._folder / self._name
            try:
                self._aside.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
                self.abandon()
            _sync_folder(self._folder)

    def abandon(self) -> None:
        """Close the files and remove them."""
        for file in self._files.values():
            file.abandon()
        shutil.rmtree(self._aside, ignore_errors=True)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make names durable; not every system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_feature(path: Path) -> Opened:
    """Map a prepared feature into memory.

    Its description is held against its checksum and the sizes of the files; up to 128 MB their content as well.

    Raises:
        Damaged: when something does not agree.
        FileNotFoundError: when there is none.
    """
    if not path.is_dir():
        raise FileNotFoundError(path)
    try:
        document = json.loads((path / META).read_text(encoding="utf-8"))
        content = document["content"]
        if document["sha256"] != _digest(content):
            raise Damaged(f"{META} does not agree with its checksum")
        files: dict[str, dict[str, Any]] = content["files"]
        nbytes = sum(file["bytes"] for file in files.values())
        for name, file in files.items():
            _verify(path / f"{name}.bin", file, whole=nbytes <= _VERIFIED_BYTES)
        info = FeatureInfo.from_json(content["info"])
        bad = [(int(row), str(reason), str(fix)) for row, reason, fix in content["bad"]]
        tensors = {name: _mapped(path / f"{name}.bin", file) for name, file in files.items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(str(error)) from error
    present, offsets = tensors.pop(PRESENT), tensors.pop(OFFSETS, None)
    return Opened(info, tensors, offsets, present, bad, nbytes)


def _verify(path: Path, file: dict[str, Any], whole: bool) -> None:
    size = path.stat().st_size
    if size != file["bytes"]:
        raise Damaged(f"{path.name} has {size:,} bytes, not {file['bytes']:,}")
    if whole:
        with path.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file["sha256"]:
                raise Damaged(f"{path.name} does not agree with its checksum")


def _mapped(path: Path, file: dict[str, Any]) -> Tensor:
    """A tensor (n, *shape) over the file. The map is private: nothing written into it reaches the disk."""
    dtype, shape = np.dtype(file["dtype"]), (file["count"], *file["shape"])
    if file["bytes"] == 0:  # which cannot be mapped
        return torch.from_numpy(np.zeros(shape, dtype))
    return torch.from_numpy(np.memmap(path, dtype=dtype, mode="c", shape=shape))
