"""What prepared rows depend on, as one digest: when it changes they are prepared again, and only then."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdistill import catalog
from mmdistill.data.features import Feature
from mmdistill.data.modalities.archives import zip_digest
from mmdistill.data.modalities.base import CellError, ModalityOptions
from mmdistill.data.modalities.reader import CellReader
from mmdistill.data.row_numbers import stream
from mmdistill.data.table import Table

FORMAT = 1  # of the files on disk and of what the modalities make; raised when either changes

_LIBRARIES = {
    "image": ("numpy", "pillow"),
    "text": ("tokenizers",),
    "audio": ("numpy", "soundfile", "soxr", "kaldi-native-fbank"),
    "tabular": ("numpy",),
    "vector": ("numpy",),
}
_PROBE = 1_000  # cells without a path after which a column is taken to hold its content itself


def fingerprints(table: Table, features: Sequence[Feature], train_rows: np.ndarray) -> dict[str, str]:
    """The fingerprint of each feature by name: SHA-256, hexadecimal.

    It covers the table's content, the source columns, the settings and files they name, the training rows (which fitted
    state comes from) or the state that was learnt elsewhere, the versions of the libraries that decode, and the files
    that cells lead to: a zip file by the names, sizes and checksums of its members, any other file by its size and time
    of modification. A column whose first thousand cells hold no path is taken to hold none.
    """
    training = hashlib.sha256(np.ascontiguousarray(train_rows, dtype="<i8").tobytes()).hexdigest()
    files = _files_digests(table, features)
    digests = {}
    for feature in features:
        document = {
            "format": FORMAT,
            "table": table.digest,
            "rows": len(table),
            "sources": feature.sources,
            "type": feature.type,
            "component": catalog.get("modality", feature.type).target,
            "settings": feature.settings.model_dump(mode="json"),
            "training": training if feature.state is None else "",
            "state": feature.state,
            "files": files.get(feature.name, ""),
            "named": _named_files(feature, table),
            "libraries": _versions(feature.type),
        }
        digests[feature.name] = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    return digests


def _named_files(feature: Feature, table: Table) -> list[str]:
    """Digests of the files that the settings name, such as a tokenizer."""
    if feature.state is not None or not isinstance(feature.settings, ModalityOptions):
        return []
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in feature.settings.files(table.root)]


def _versions(kind: str) -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES.get(kind, ())}
    if kind == "audio":
        import soundfile

        versions["libsndfile"] = soundfile.__libsndfile_version__
    if kind == "text":
        import unicodedata

        versions["unicode"] = unicodedata.unidata_version
    return versions


class _Files:
    """The files that the cells of one feature lead to, taken in row by row."""

    def __init__(self, feature: Feature, table: Table) -> None:
        self.source = feature.sources[0]
        self._reader = CellReader(table.root).within(feature.settings.root)
        self._digest = hashlib.sha256()
        self._archives: dict[Path, str] = {}
        self._without = 0
        self.open = True
        root = self._reader.root
        if feature.settings.root is not None and root is not None and root.is_file():
            self._digest.update(_state_of(root).encode())
            self.open = False

    def add(self, cell: Any) -> None:
        """Take in the file of one cell."""
        if not self.open or cell is None:
            return
        path = self._reader.path(cell)
        if path is None or path.lstrip().startswith("["):  # a list in JSON is a vector, not a path
            self._without += 1
            self.open = self._without < _PROBE
            return
        self._without = -1 << 62  # there are paths: look at every cell
        try:
            file, member = self._reader.locate(path)
        except CellError:
            return  # the row is refused when it is prepared
        if member is None:
            self._digest.update(_state_of(file).encode())
        elif file not in self._archives:
            self._archives[file] = _state_of(file)
            self._digest.update(self._archives[file].encode())

    def hexdigest(self) -> str:
        """The digest of all files so far."""
        return self._digest.hexdigest()


def _state_of(file: Path) -> str:
    if file.suffix.lower() in (".zip", ".npz"):
        try:
            return zip_digest(file)
        except CellError:
            return "unreadable"
    try:
        status = os.stat(file)  # noqa: PTH116 - half the time of Path.stat, for a file of every row
    except (OSError, ValueError):
        return "missing"
    return f"{status.st_size},{status.st_mtime_ns}\n"


def _files_digests(table: Table, features: Sequence[Feature]) -> dict[str, str]:
    files = {
        feature.name: _Files(feature, table) for feature in features if getattr(feature.settings, "reads_files", False)
    }
    unread = [each for each in files.values() if each.open]
    if unread:
        for _, cells in stream(table, sorted({each.source for each in unread})):
            for each in unread:
                each.add(cells[each.source])
            if not any(each.open for each in unread):
                break
    return {name: each.hexdigest() for name, each in files.items()}
