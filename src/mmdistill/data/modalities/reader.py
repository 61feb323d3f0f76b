"""From a cell to the bytes it stands for: a file, a member of a zip file, or bytes in the table itself."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mmdistill.data.cells import is_media
from mmdistill.data.modalities.archives import (
    CANDIDATES,
    LARGER,
    ZipFiles,
    hint,
    refuse_escape,
    split_at_zip,
    too_large,
)
from mmdistill.data.modalities.base import Cell, CellError, describe

DEFAULT_MAX_BYTES = 256_000_000


class CellReader:
    """Turns cells into bytes.

    A path starts from `root`, the table's folder; it may be absolute or lead elsewhere, as the table is the user's own.
    Under a column's own `root` (see `within`), and inside a zip file, a path must stay there.

    Args:
        root: the folder that relative paths start from; None refuses paths altogether, for rows that come from
            strangers.
        max_bytes: a larger file or member is refused before it is read.
    """

    def __init__(self, root: str | Path | None, *, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self.root = None if root is None else Path(root)
        self.max_bytes = max_bytes
        self._confined = False
        self._zips = ZipFiles()

    def within(self, root: str | None, max_megabytes: float | None = None) -> CellReader:
        """A reader for one column: its own `root` (folder or zip file, relative to this one's) and limit."""
        limit = self.max_bytes if max_megabytes is None else int(max_megabytes * 1e6)
        if root is None or self.root is None:
            reader = CellReader(self.root, max_bytes=limit)
        else:
            reader = CellReader(self.root / root, max_bytes=limit)
            reader._confined = True
        reader._zips = self._zips
        return reader

    def read(self, cell: Cell) -> bytes:
        """The bytes of a path, of bytes, or of a Hugging Face mapping ``{"bytes": ..., "path": ...}``.

        Raises:
            CellError: when it is anything else, or cannot be read, or is larger than `max_bytes`.
        """
        if isinstance(cell, dict) and is_media(cell):
            cell = cell.get("bytes") if cell.get("bytes") is not None else cell.get("path")
        if isinstance(cell, bytes | bytearray | memoryview):
            if len(cell) > self.max_bytes:
                raise CellError(too_large("embedded bytes", len(cell), self.max_bytes), fix=LARGER)
            return bytes(cell)
        if isinstance(cell, str):
            return self._read_path(cell)
        raise CellError(f"is {describe(cell)}, not a path or bytes")

    def path(self, cell: Cell) -> str | None:
        """The path that `read` would follow for a cell, or None when it holds its bytes itself."""
        if isinstance(cell, dict) and is_media(cell):
            cell = cell.get("path") if cell.get("bytes") is None else None
        return cell if isinstance(cell, str) and cell else None

    def locate(self, name: str) -> tuple[Path, str | None]:
        """``(file, None)`` or ``(zip file, member)`` that a path leads to.

        Raises:
            CellError: when paths are not allowed here, or this one leaves its folder.
        """
        if self.root is None:
            raise CellError(f"is {describe(name)}: paths are not read here", fix="Send the bytes themselves")
        if "\0" in name:
            raise CellError("names a path with a zero character")
        if name.lower().startswith(("http://", "https://", "s3://", "gs://", "hf://")):
            raise CellError(f"is a web address ({name[:80]!r})", fix="Download the files first and give their paths")
        if self._confined:
            refuse_escape(name)
        whole = name if os.path.isabs(name) else f"{self.root.as_posix()}/{name}"  # noqa: PTH117 - keeps '..' as written
        found = split_at_zip(whole)
        return (Path(whole), None) if found is None else found

    def _read_path(self, name: str) -> bytes:
        file, member = self.locate(name)
        if member is not None:
            return self._zips.read(file, member, self.max_bytes)
        try:
            status = file.stat()
            if not stat.S_ISREG(status.st_mode):
                raise CellError(f"names {name!r}, which is not a file")
            if status.st_size > self.max_bytes:
                raise CellError(too_large(name, status.st_size, self.max_bytes), fix=LARGER)
            return file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise CellError(f"names {name!r}, which is not there (looked for {file})", fix=self._near(file)) from None
        except (OSError, ValueError) as error:
            raise CellError(f"names {name[:200]!r}, which cannot be read ({error})") from error

    def _near(self, file: Path) -> str:
        """A hint at a file of a similar name in the same folder."""
        start = "Paths start from the folder of the table, or from `root` of the column"
        if not self._zips.may_hint():
            return start
        try:
            with os.scandir(file.parent) as entries:
                names = [entry.name for entry, _ in zip(entries, range(CANDIDATES), strict=False)]
        except OSError:
            return start
        return hint(file.name, names) or start
