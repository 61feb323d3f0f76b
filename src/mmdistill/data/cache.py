"""The cache folder: where prepared rows are kept between runs, what is in it, and how it is emptied.

``<cache>/<kind>/<fingerprint>/`` holds one entry with its ``meta.json``; folders whose name starts with a dot are being
written, or were when their process was killed. Files in ``<cache>/locks/`` keep two processes from preparing the same.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdistill.errors import InputError, MMDistillError, require
from mmdistill.files import ACCESS_ERRORS

VARIABLE = "MMDISTILL_CACHE"
META = "meta.json"


@dataclass(frozen=True)
class CacheEntry:
    """One entry of the cache.

    Args:
        kind: what it is, such as ``features``.
        name: its fingerprint.
        path: its folder.
        summary: what it holds, such as ``image of digits.parquet, 1,797 rows``.
        bytes: size on disk.
        last_used: seconds since 1970 when it was last opened.
    """

    kind: str
    name: str
    path: Path
    summary: str
    bytes: int
    last_used: float

    @property
    def days(self) -> float:
        """Days since it was last opened."""
        return max(0.0, time.time() - self.last_used) / 86_400


def cache_folder(folder: str | Path | None = None) -> Path:
    """`folder`, else the environment variable MMDISTILL_CACHE, else ``mmdistill`` in the user's cache folder.

    The user's cache folder is XDG_CACHE_HOME or ``~/.cache`` (``%LOCALAPPDATA%`` on Windows). Nothing is created.
    """
    named = folder or os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "mmdistill"


@contextlib.contextmanager
def disk_errors(folder: Path, doing: str) -> Iterator[None]:
    """Turn an `OSError` while `doing` something in `folder` into an error that says how to go on.

    Raises:
        MMDistillError: naming the folder, the reason and the way out.
        InputError: when the folder may not be written to.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = error.strerror or str(error)
        if full:
            reason = f"the disk is full ({reason})"
        fix = (
            f"Free some space (`mmdistill cache --clear` empties the cache), or name another folder with {VARIABLE}"
            if full
            else f"Make the folder writable, or name another one with {VARIABLE}"
        )
        kind = InputError if error.errno in ACCESS_ERRORS else MMDistillError
        raise kind(f"{doing} failed: {reason}", where=str(folder), fix=fix) from error


def list_entries(folder: str | Path | None = None) -> list[CacheEntry]:
    """The entries of the cache, the largest first; empty when there is no cache yet.

    Raises:
        InputError: when the cache folder is a file.
        MMDistillError: when it cannot be read.
    """
    cache = cache_folder(folder)
    if cache.exists() and not cache.is_dir():
        raise InputError("The cache folder is a file", where=str(cache), fix=f"Name a folder with {VARIABLE}")
    entries = []
    with disk_errors(cache, "Reading the cache"):
        for kind in _folders(cache):
            if kind.name != "locks":
                entries += [_entry(kind.name, path) for path in _folders(kind)]
    return sorted(entries, key=lambda entry: (-entry.bytes, entry.kind, entry.name))


def clear(older_than: float | None = None, folder: str | Path | None = None) -> list[CacheEntry]:
    """Remove entries and return those that are gone.

    An entry that another process is preparing stays. One that a run has open may go: the run keeps its data until it
    ends (on Windows such an entry stays).

    Args:
        older_than: only entries that were not opened for so many days; all when None.
        folder: the cache folder; see `cache_folder`.

    Raises:
        MMDistillError: when an entry cannot be removed.
    """
    cache = cache_folder(folder)
    removed = []
    for entry in list_entries(cache):
        if older_than is not None and entry.days < older_than:
            continue
        with lock(cache, entry.name, wait=False) as held:
            if held:
                with disk_errors(entry.path, "Emptying the cache"):
                    shutil.rmtree(entry.path)
                removed.append(entry)
    return removed


@contextlib.contextmanager
def lock(cache: Path, name: str, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of one entry across processes; gives whether it is held (always, when `wait`).

    The lock goes with the process: one that is killed leaves none behind.
    """
    filelock = require("filelock", "train", "The cache of prepared rows")
    folder = cache / "locks"
    file = filelock.FileLock(folder / f"{name.lstrip('.').split('.')[0]}.lock")
    with disk_errors(folder, "Locking the cache"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file.acquire(timeout=-1 if wait else 0)
            held = True
        except filelock.Timeout:
            held = False
        except NotImplementedError:  # a file system without locks: the renaming still keeps entries whole
            held = True
    try:
        yield held
    finally:
        file.release()


def cache_table(folder: str | Path | None = None) -> tuple[Any, list[dict[str, Any]]]:
    """The entries as a `rich` table for the terminal, and as plain data."""
    from rich.table import Table

    entries = list_entries(folder)
    total = sum(entry.bytes for entry in entries)
    table = Table(title=f"{cache_folder(folder)}: {total / 1e6:,.1f} MB", title_justify="left", box=None)
    table.add_column("holds")
    table.add_column("MB", justify="right")
    table.add_column("last used", justify="right")
    table.add_column("fingerprint")
    for entry in entries:
        table.add_row(entry.summary, f"{entry.bytes / 1e6:,.1f}", f"{entry.days:,.0f} days ago", entry.name[:12])
    return table, [
        {
            "kind": entry.kind,
            "fingerprint": entry.name,
            "path": str(entry.path),
            "summary": entry.summary,
            "bytes": entry.bytes,
            "days": round(entry.days, 3),
        }
        for entry in entries
    ]


def touch(path: Path) -> None:
    """Note that an entry was opened now; a read-only cache is left as it is."""
    with contextlib.suppress(OSError):
        os.utime(path / META)


def remove_partial(kind: Path, name: str) -> None:
    """Remove what killed processes left of entry `name`; to be called with its lock held."""
    for path in kind.glob(f".{name}.*"):
        shutil.rmtree(path, ignore_errors=True)


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _entry(kind: str, path: Path) -> CacheEntry:
    nbytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    meta = path / META
    summary = "unfinished" if path.name.startswith(".") else "damaged"
    last_used = path.stat().st_mtime
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        last_used = meta.stat().st_mtime
        if not path.name.startswith("."):
            summary = str(json.loads(meta.read_text(encoding="utf-8"))["content"]["summary"])
    return CacheEntry(kind, path.name, path, summary, nbytes, last_used)
