"""Reading members of a zip file by name, from any thread and after a fork, with 16 bytes of memory a member.

`zipfile` keeps an object of some 500 bytes for each member in each handle, and a handle has a position that threads and
forked processes would share: with hundreds of thousands of pictures in one file that is the larger part of the memory
of preparing them. Here the directory stays on disk; in memory are only hashes of names and where their records lie.

The format is that of PKWARE's APPNOTE 6.3.10 (sections 4.3.7, 4.3.12, 4.3.14 to 4.3.16, 4.5.3): members that are stored
or deflated, with Zip64.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import weakref
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_RECORD = struct.Struct("<4s4B4HL2L5H2L")  # central directory file header
_LOCAL = struct.Struct("<4s2B4HL2L2H")  # local file header
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_UNSET32, _UNSET16 = 0xFFFFFFFF, 0xFFFF
_CHUNK = 1 << 20
STORED, DEFLATED = 0, 8


class ZipError(Exception):
    """A zip file or a member that cannot be read; the message says why."""


@dataclass(frozen=True)
class Member:
    """One member of a zip file.

    Args:
        name: as the directory has it; a folder ends with a slash.
        size: bytes when unpacked, as the directory says.
        crc: CRC-32 of the unpacked bytes.
    """

    name: str
    size: int
    crc: int
    _packed: int
    _offset: int
    _method: int
    _encrypted: bool


class ZipIndex:
    """A zip file that is open for reading.

    Args:
        path: the zip file.

    Raises:
        ZipError: when it is no zip file, is cut off, or spans several disks.
        OSError: when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        weakref.finalize(self, os.close, handle)
        self._handle, self._lock = handle, threading.Lock()
        self._length = os.fstat(handle).st_size
        self._start, self._size, self._shift = self._find_directory()
        hashes, places = array("Q"), array("q")
        for place, header, rest in self._walk():
            hashes.append(_hash(_name(header, rest)))
            places.append(place)
        order = np.argsort(np.frombuffer(hashes, dtype=np.uint64), kind="stable")
        self._hashes = np.frombuffer(hashes, dtype=np.uint64)[order]
        self._places = np.frombuffer(places, dtype=np.int64)[order]

    def __len__(self) -> int:
        return len(self._hashes)

    def members(self) -> Iterator[Member]:
        """All members in the order of the directory."""
        return (_member(header, rest) for _, header, rest in self._walk())

    def find(self, name: str) -> Member | None:
        """The member of a name, the last one where several have it."""
        wanted = np.uint64(_hash(name))
        first, last = np.searchsorted(self._hashes, wanted, "left"), np.searchsorted(self._hashes, wanted, "right")
        for place in self._places[first:last][::-1].tolist():
            header = self._at(place, _RECORD.size)
            rest = self._at(place + _RECORD.size, sum(_lengths(header)))
            member = _member(header, rest)
            if member.name == name:
                return member
        return None

    def read(self, member: Member) -> bytes:
        """The unpacked bytes of a member; never more than its `size`.

        Raises:
            ZipError: when it is encrypted, packed in another way, cut off or damaged.
        """
        if member._encrypted:
            raise ZipError("it is encrypted")
        if member._method not in (STORED, DEFLATED):
            raise ZipError(f"it is packed with method {member._method}; only stored and deflated members are read")
        offset = member._offset + self._shift
        local = _LOCAL.unpack(self._at(offset, _LOCAL.size))
        if local[0] != b"PK\3\4":
            raise ZipError("its header is damaged")
        packed = self._at(offset + _LOCAL.size + local[-2] + local[-1], member._packed)
        data = packed if member._method == STORED else _inflate(packed, member.size)
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise ZipError("its content does not agree with its checksum")
        return data

    def _at(self, offset: int, length: int) -> bytes:
        """`length` bytes at `offset`, without a position that others could move."""
        if offset < 0 or length < 0 or offset + length > self._length:
            raise ZipError("it lies beyond the end of the file")
        parts = []
        while length:
            part = self._pread(length, offset)
            if not part:
                raise ZipError("the file became shorter")
            parts.append(part)
            length, offset = length - len(part), offset + len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _pread(self, length: int, offset: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._handle, length, offset)
        with self._lock:  # Windows, where there is no fork either
            os.lseek(self._handle, offset, os.SEEK_SET)
            return os.read(self._handle, length)

    def _find_directory(self) -> tuple[int, int, int]:
        """``(start, size, shift)`` of the directory; `shift` is what was put in front of the zip file."""
        tail_length = min(self._length, _END.size + _UNSET16)
        tail = self._at(self._length - tail_length, tail_length)
        found = tail.rfind(b"PK\5\6")
        if found < 0 or len(tail) - found < _END.size:
            raise ZipError("it is no zip file, or was cut off")
        end = self._length - tail_length + found
        _, disk, _, _, _, size, start, _ = _END.unpack(tail[found : found + _END.size])
        behind = end
        if end >= _LOCATOR64.size:
            locator = self._at(end - _LOCATOR64.size, _LOCATOR64.size)
            if locator[:4] == b"PK\6\7":
                behind = end - _LOCATOR64.size - _END64.size
                record = _END64.unpack(self._at(behind, _END64.size))
                if record[0] != b"PK\6\6":
                    raise ZipError("its Zip64 directory cannot be found")
                disk, size, start = record[4], record[8], record[9]
        if disk != 0:
            raise ZipError("it spans several disks")
        shift = behind - size - start
        if shift < 0 or size > behind:
            raise ZipError("its directory is damaged")
        return start + shift, size, shift

    def _walk(self) -> Iterator[tuple[int, bytes, bytes]]:
        """``(place, record, what follows it)`` of all members, reading the directory by the megabyte."""
        place, end = self._start, self._start + self._size
        buffer, origin = b"", place
        while place < end:
            if not _whole_record(buffer, place - origin):
                buffer, origin = self._at(place, min(_CHUNK, end - place)), place
            header = buffer[place - origin : place - origin + _RECORD.size]
            if len(header) < _RECORD.size or header[:4] != b"PK\1\2":
                raise ZipError("its directory is damaged")
            length = sum(_lengths(header))
            rest = buffer[place - origin + _RECORD.size : place - origin + _RECORD.size + length]
            if len(rest) < length:
                raise ZipError("its directory is damaged")
            yield place, header, rest
            place += _RECORD.size + length


def _whole_record(buffer: bytes, start: int) -> bool:
    """Whether a record that begins at `start` lies in the buffer with all that follows it."""
    behind = start + _RECORD.size
    return behind <= len(buffer) and behind + sum(_lengths(buffer[start:behind])) <= len(buffer)


def _lengths(header: bytes) -> tuple[int, int, int]:
    """Lengths of the name, the extra fields and the comment behind a record of the directory."""
    return struct.unpack_from("<3H", header, 28)


def _member(header: bytes, rest: bytes) -> Member:
    fields = _RECORD.unpack(header[: _RECORD.size])
    flags, method, crc, packed, size, offset = fields[5], fields[6], fields[9], fields[10], fields[11], fields[-1]
    name_length, extra_length, _ = _lengths(header)
    large = _zip64_field(rest[name_length : name_length + extra_length])
    values = [size, packed, offset]
    for index, value in enumerate(values):
        if value == _UNSET32:
            if not large:
                raise ZipError("its directory is damaged")
            values[index] = large.pop(0)
    return Member(_name(header, rest), values[0], crc, values[1], values[2], method, bool(flags & 1))


def _name(header: bytes, rest: bytes) -> str:
    name_length, utf8 = struct.unpack_from("<H", header, 28)[0], header[9] & 0x08
    return rest[:name_length].decode("utf-8" if utf8 else "cp437", "replace")


def _zip64_field(extra: bytes) -> list[int]:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            field = extra[position + 4 : position + 4 + length]
            return list(struct.unpack_from(f"<{min(3, len(field) // 8)}Q", field))
        position += 4 + length
    return []


def _inflate(packed: bytes, size: int) -> bytes:
    """Unpack at most `size` bytes (and one, to notice more), whatever the packed bytes would grow to."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1)
    except zlib.error as error:
        raise ZipError(f"its content is damaged ({error})") from error


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "little")
