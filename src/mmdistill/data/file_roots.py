"""Where the files are that a column's paths name: beside the table, in a folder there, or in a zip file there."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from mmdistill.data.modalities.archives import split_at_zip

MOST_PLACES = 200


def find_root(folder: Path, names: Sequence[str]) -> str | None:
    """The `root` under which paths are found.

    Args:
        folder: the table's folder.
        names: some paths of a column.

    Returns:
        ``""`` when they start from the table's folder, else a folder or zip file there (``images.zip/png``); None when
        they are nowhere.
    """
    if _all_in_folder(folder, names):
        return ""
    for place in sorted(folder.iterdir())[:MOST_PLACES]:
        if place.is_dir() and _all_in_folder(place, names):
            return place.name
        if place.suffix.lower() == ".zip" and place.is_file():
            inner = _inside_zip(place, names)
            if inner is not None:
                return f"{place.name}/{inner}".rstrip("/")
    return None


def _all_in_folder(folder: Path, names: Sequence[str]) -> bool:
    members: dict[Path, set[str]] = {}
    return all((folder / name).is_file() or _is_member(folder, name, members) for name in names)


def _is_member(folder: Path, name: str, members: dict[Path, set[str]]) -> bool:
    """Whether a path leads into a zip file and to a member that is there; `members` of each file are read once."""
    found = split_at_zip(f"{folder.as_posix()}/{name}")
    if found is None:
        return False
    file, member = found
    if file not in members:
        try:
            with zipfile.ZipFile(file) as archive:
                members[file] = set(archive.namelist())
        except (OSError, zipfile.BadZipFile):
            members[file] = set()
    return member in members[file]


def _inside_zip(place: Path, names: Sequence[str]) -> str | None:
    """The folder inside a zip file that the names start from, None when they are not all there."""
    try:
        with zipfile.ZipFile(place) as archive:
            members = set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return None
    first = names[0]
    for member in members:
        if member == first or member.endswith("/" + first):
            prefix = member[: -len(first)]
            if all(prefix + name in members for name in names):
                return prefix.rstrip("/")
    return None
