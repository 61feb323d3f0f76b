"""Members of zip files: where a path enters one, what may be asked for, and reading without a surprise."""

from __future__ import annotations

import difflib
import hashlib
import threading
from pathlib import Path, PureWindowsPath

from mmdistill.data.modalities.base import CellError
from mmdistill.data.modalities.zip_index import ZipError, ZipIndex

CANDIDATES = 5_000  # names looked through for a hint
_HINTS = 5


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
    """Zip files that stay open, shared by all threads; see `ZipIndex` for why that is safe, after a fork too."""

    def __init__(self) -> None:
        self._open: dict[Path, ZipIndex] = {}
        self._lock = threading.Lock()
        self._hints_left = _HINTS

    def may_hint(self) -> bool:
        """Whether a missing file is worth a hint: the first few are, as a whole column may be wrong in the same way."""
        self._hints_left -= 1
        return self._hints_left >= 0

    def open(self, archive: Path) -> ZipIndex:
        """The open zip file.

        Raises:
            CellError: when it cannot be opened or is no zip file.
        """
        found = self._open.get(archive)
        if found is None:
            with self._lock:
                found = self._open.get(archive)
                if found is None:
                    found = self._open[archive] = _opened(archive)
        return found

    def read(self, archive: Path, member: str, max_bytes: int) -> bytes:
        """The bytes of a member.

        Raises:
            CellError: when the name leaves the zip file, the member is missing, damaged, encrypted or too large.
        """
        refuse_escape(member)
        opened = self.open(archive)
        try:
            found = opened.find(member)
            if found is None:
                near = _nearest_member(opened, member) if self.may_hint() else ""
                raise CellError(f"names {member!r}, which is not in {archive.name}", fix=near)
            if found.name.endswith("/"):
                raise CellError(f"names {member!r}, a folder of {archive.name}, not a file")
            if found.size > max_bytes:
                raise CellError(too_large(f"{archive.name}/{member}", found.size, max_bytes), fix=LARGER)
            return opened.read(found)
        except (ZipError, OSError) as error:
            raise CellError(f"names {member!r}, which cannot be read from {archive.name}: {error}") from error


def _nearest_member(archive: ZipIndex, name: str) -> str:
    return hint(name, [member.name for member, _ in zip(archive.members(), range(CANDIDATES), strict=False)])


def _opened(archive: Path) -> ZipIndex:
    try:
        return ZipIndex(archive)
    except (OSError, ZipError) as error:
        raise CellError(f"needs the zip file {archive}, which cannot be opened: {error}") from error


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
    for member in _opened(archive).members():
        digest.update(f"{member.name}\0{member.size}\0{member.crc}\n".encode("utf-8", "replace"))
    return digest.hexdigest()
