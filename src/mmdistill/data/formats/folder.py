"""A folder with one sub-folder per class, with or without train, validation and test folders above them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmdistill.data.cells import Cell
from mmdistill.data.formats.base import text_digest
from mmdistill.data.split_names import split_name
from mmdistill.errors import InputError

_LAYOUT = "Put the files into one sub-folder per class: folder/cat/1.png, or folder/train/cat/1.png"


class ClassFolders:
    """The files of a folder tree as a table.

    Columns are ``path`` (relative to the folder, with ``/``) and ``label`` (name of the class folder); where the top
    folders are named train, validation, test or a synonym there is ``split`` too. Rows are sorted by path. Hidden
    files are left out, and so is a file outside the class folders whose ending occurs in none of them (a README).

    Raises:
        InputError: when there are no class folders, or when files of the same kind lie beside them.
    """

    def __init__(self, folder: Path, limit: int | None) -> None:
        self.root, self.source = folder, str(folder)
        tops = [entry for entry in _visible(folder) if entry.is_dir()]
        splits = [entry for entry in tops if split_name(entry.name)]
        if splits and len(splits) < len(tops):
            others = ", ".join(sorted(entry.name for entry in tops if entry not in splits))
            raise InputError(
                f"Folders of splits ({', '.join(entry.name for entry in splits)}) lie beside others ({others})",
                where=self.source,
                fix="Keep only the folders of splits, or only the folders of classes, on the top level",
            )
        self.columns = ["path", "label", *(["split"] if splits else [])]
        class_depth = 2 if splits else 1
        files = sorted(_files(folder), key=lambda file: file.split("/"))
        inside = [file for file in files if file.count("/") >= class_depth]
        _refuse_strays(self.source, files, inside, class_depth)
        if not inside:
            raise InputError("There are no files in class folders", where=self.source, fix=_LAYOUT)
        self._paths = inside[:limit]
        self._class_depth = class_depth
        self.rows = len(self._paths)

    def stream(
        self, columns: Sequence[str], rows: np.ndarray | None, batch: int
    ) -> Iterator[tuple[int, dict[str, Cell]]]:
        """See `Format.stream`."""
        del batch  # the paths are in memory
        for row in range(self.rows) if rows is None else rows.tolist():
            path = self._paths[row]
            parts = path.split("/")
            cells = {"path": path, "label": parts[self._class_depth - 1], "split": parts[0]}
            yield row, {name: cells[name] for name in columns}

    def where(self, row: int) -> str:
        """Path of the file."""
        return str(self.root / self._paths[row])

    def digest(self) -> str:
        """SHA-256 of names, sizes and modification times: reading every file would cost as much as preparing it."""
        lines = []
        for path in self._paths:
            status = (self.root / path).stat()
            lines.append(f"{path!r} {status.st_size} {status.st_mtime_ns}")
        return text_digest(lines)


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if not _hidden(entry.name))
    except OSError as error:
        raise InputError(f"The folder cannot be read ({error.strerror or error})", where=str(folder)) from error


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX")) or name.lower() in {"thumbs.db", "desktop.ini"}


def _files(folder: Path) -> Iterator[str]:
    """Yield every visible file below a folder, links followed once, relative to it and with ``/``."""
    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(place)  # noqa: PTH116 - os.walk gives strings
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not _hidden(name))
        inner = Path(place).relative_to(folder).as_posix()
        prefix = "" if inner == "." else inner + "/"
        yield from (prefix + name for name in names if not _hidden(name))


def _refuse_strays(source: str, files: list[str], inside: list[str], class_depth: int) -> None:
    kinds = {Path(file).suffix.lower() for file in inside}
    strays = [file for file in files if file.count("/") < class_depth and Path(file).suffix.lower() in kinds]
    if strays:
        raise InputError(
            f"{len(strays)} files lie beside the class folders, such as {strays[0]!r}",
            where=source,
            fix="Move them into the folder of their class, or write a table with a path column",
        )
