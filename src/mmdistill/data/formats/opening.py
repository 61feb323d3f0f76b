"""From the name in a recipe to the format that reads it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from mmdistill import catalog
from mmdistill.data.formats.arrow_ipc import ArrowIPC
from mmdistill.data.formats.base import Format
from mmdistill.data.formats.delimited import Delimited
from mmdistill.data.formats.folder import ClassFolders
from mmdistill.data.formats.hub import SCHEME, HubDataset
from mmdistill.data.formats.jsonl import JSONLines
from mmdistill.data.formats.parquet import Parquet
from mmdistill.errors import InputError, nearest

_FORMATS: dict[str, Callable[[Path, int | None], Format]] = {
    "csv": lambda path, limit: Delimited(path, ",", limit),
    "tsv": lambda path, limit: Delimited(path, "\t", limit),
    "jsonl": JSONLines,
    "parquet": Parquet,
    "arrow": ArrowIPC,
    "folder": ClassFolders,
}
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_GZIPPED = ("csv", "tsv", "jsonl")


def open_format(name: str, format: str | None, limit: int | None) -> Format:
    """Open what a name stands for: a dataset's address, an embedded sample, a folder or a file.

    Args:
        name: ``hf://…``, the bare name of a sample, or a path.
        format: a name of `_FORMATS`; told by the ending when None.
        limit: read only so many rows.

    Raises:
        InputError: when it does not exist, is of another kind than stated, or its ending is unknown.
    """
    if name.startswith(SCHEME):
        return HubDataset(name, limit)
    path = (_sample(name) if format is None else None) or Path(name).expanduser()
    if not path.exists():
        raise _missing(path)
    kind = format or ("folder" if path.is_dir() else _kind_of(path))
    if kind not in _FORMATS:
        raise InputError(f"There is no table format {kind!r}", where=str(path), fix=nearest(kind, list(_FORMATS)))
    if path.is_dir() != (kind == "folder"):
        expected, found = ("folder", "file") if kind == "folder" else (f"{kind} file", "folder")
        raise InputError(f"A {expected} is expected, but this is a {found}", where=str(path), fix="Change `format`")
    return _FORMATS[kind](path, limit)


def _sample(name: str) -> Path | None:
    """The file of an embedded sample, None when the text is not the bare name of one."""
    if not name.isidentifier():
        return None
    entry = next((entry for entry in catalog.entries("sample") if entry.name == name), None)
    return None if entry is None else Path(entry.load()())


def _kind_of(path: Path) -> str:
    name = path.name.lower()
    kind = _ENDINGS.get(Path(name.removesuffix(".gz")).suffix)
    if kind is None or (name.endswith(".gz") and kind not in _GZIPPED):
        raise InputError(
            f"The ending of {path.name!r} is not that of a table",
            where=str(path),
            fix=f"Known endings: {', '.join(_ENDINGS)} (text also with .gz). Name the format with the key `format`",
        )
    return kind


def _missing(path: Path) -> InputError:
    if not path.parent.is_dir():
        fix = f"The folder {str(path.parent)!r} does not exist either"
        return InputError("There is no such file or folder", where=str(path), fix=fix)
    names = [entry.name for entry in path.parent.iterdir()]
    if str(path).isidentifier():
        names += catalog.names("sample")
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    fix = f"Did you mean {str(path.parent / close[0])!r}?" if close else "Check the name and the working folder"
    return InputError("There is no such file or folder", where=str(path), fix=fix)
