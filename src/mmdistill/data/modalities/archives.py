"""Members of zip files: where a path enters one, what may be asked for, and reading without a surprise."""

from __future__ import annotations

import difflib
import hashlib
import os
import threading
import zipfile
import zlib
from pathlib import Path, PureWindowsPath

from mmdistill.data.modalities.base import CellError

CANDIDATES = 5_000  # names looked through for a hint


def split_at_zip(path: str) -> tuple[Path, str] | None:
    """``(zip file, member)`` of a path such as ``folder/images.zip/a/b.png``, or None when it enters none."""
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        if parts[end - 1].lower().endswith(".zip"):
            archive = Path("/".join(parts[:end]))
            if archive.is_file():
                return archive, "/".join(parts[end:])
    return None


def refuse_escape(name: str) -> None:
    """Refuse a name that does not stay in the folder or zip file it belongs to.

    Raises:
        CellError: for an absolute path, a drive, or a part that is ``..``.
    """
    if ".." in name.replace("\\", "/").split("/"):
        raise CellError(
            f"names {name!r}, which leaves its folder ('..')", fix="Give the path inside the folder or zip file"
        )
    if name.startswith(("/", "\\")) or PureWindowsPath(name).drive:
        raise CellError(f"names {name!r}, an absolute path", fix="Give the path inside the folder or zip file")


def hint(name: str, known: list[str]) -> str:
    """``Did you mean 'a/b.png'?`` for the nearest of `known`, or an empty string."""
    base = name.rsplit("/", 1)[-1]
    same = [other for other in known if other.rsplit("/", 1)[-1] == base]
    near = same[:1] or difflib.get_close_matches(name, known[:CANDIDATES], n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else ""


class ZipFiles:
    """Zip files that stay open for reading: one handle for each thread, opened anew in a forked process.

    A handle belongs to one thread, so that threads do not wait for one another; and to one process, because a forked
    one would share the position in the file.
    """

    def __init__(self) -> None:
        self._local = threading.local()

    def open(self, archive: Path) -> zipfile.ZipFile:
        """The open zip file.

        Raises:
            CellError: when it cannot be opened or is no zip file.
        """
        if getattr(self._local, "process", None) != os.getpid():
            self._local.process, self._local.files = os.getpid(), {}
        files: dict[Path, zipfile.ZipFile] = self._local.files
        if archive not in files:
            try:
                files[archive] = zipfile.ZipFile(archive)
            except (OSError, zipfile.BadZipFile) as error:
                raise CellError(f"needs the zip file {archive}, which cannot be opened ({error})") from error
        return files[archive]

    def read(self, archive: Path, member: str, max_bytes: int) -> bytes:
        """The bytes of a member.

        Raises:
            CellError: when the name leaves the zip file, the member is missing, damaged, encrypted or too large.
        """
        refuse_escape(member)
        opened = self.open(archive)
        try:
            info = opened.getinfo(member)
        except KeyError:
            near = hint(member, opened.namelist())
            raise CellError(f"names {member!r}, which is not in {archive.name}", fix=near) from None
        if info.is_dir():
            raise CellError(f"names {member!r}, a folder of {archive.name}, not a file")
        if info.file_size > max_bytes:
            raise CellError(too_large(f"{archive.name}/{member}", info.file_size, max_bytes), fix=LARGER)
        try:
            with opened.open(info) as stream:
                return stream.read(info.file_size)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError) as error:
            raise CellError(f"names {member!r}, which cannot be read from {archive.name} ({error})") from error


LARGER = "Raise `max_megabytes` of the column if it is meant to be so large"


def too_large(name: str, size: int, limit: int) -> str:
    """The reason for refusing a file of `size` bytes."""
    return f"names {name!r} of {size / 1e6:,.1f} MB, more than max_megabytes = {limit / 1e6:,.6g}"


def zip_digest(archive: Path) -> str:
    """A digest of what a zip file holds, from its directory: names, sizes and checksums of the members.

    Raises:
        CellError: when it cannot be opened or is no zip file.
    """
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                digest.update(f"{info.filename}\0{info.file_size}\0{info.CRC}\n".encode("utf-8", "surrogateescape"))
    except (OSError, zipfile.BadZipFile) as error:
        raise CellError(f"needs the zip file {archive}, which cannot be opened ({error})") from error
    return digest.hexdigest()
