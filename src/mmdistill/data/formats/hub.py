"""``hf://owner/name[/config][:split]``: a dataset of the Hugging Face hub, or a local folder in one of its layouts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdistill.data.cells import Cell
from mmdistill.data.formats.arrow_cells import checked_names, rows_at_once, selected_rows
from mmdistill.data.formats.base import text_digest
from mmdistill.data.split_names import split_name
from mmdistill.errors import InputError, require

SCHEME = "hf://"


@dataclass(frozen=True)
class HubAddress:
    """The parts of ``hf://owner/name[/config][:split]``; `name` is a path when the dataset is a local folder."""

    name: str
    config: str | None
    split: str | None

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """Take an address apart.

        Raises:
            InputError: when owner or name is missing.
        """
        name, _, split = text.removeprefix(SCHEME).partition(":")
        if Path(name).is_dir():
            return cls(name, None, split or None)
        parts = name.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise InputError(
                f"{text!r} is neither a dataset's address nor a local folder",
                fix="Write hf://owner/name, hf://owner/name/config or hf://owner/name:split",
            )
        return cls("/".join(parts[:2]), parts[2] if len(parts) == 3 else None, split or None)


class HubDataset:
    """A dataset read through `datasets`, one split after the other.

    Without a stated split every split is read, and a column ``split`` is added where there is more than one. Images
    and sounds stay encoded (``{"bytes": …, "path": …}``), class numbers become their names, and class number -1 (not
    labelled) an absent cell.

    Raises:
        InputError: when the dataset, its configuration or its split cannot be found.
        MissingExtra: when `datasets` is not installed.
    """

    def __init__(self, address: str, limit: int | None) -> None:
        self.source = address
        parsed = HubAddress.parse(address)
        self.root = Path(parsed.name).resolve() if Path(parsed.name).is_dir() else Path.cwd()
        self._parts = _load(address, parsed)
        first = next(iter(self._parts.values()))
        self.columns = checked_names(first.column_names, address)
        for name, part in self._parts.items():
            if set(part.column_names) != set(self.columns):
                raise InputError(
                    f"The split {name!r} has other columns than the first: {', '.join(part.column_names)}",
                    where=address,
                    fix=f"Choose one split: {address}:{name}",
                )
        self._adds_split = len(self._parts) > 1 and "split" not in self.columns
        if self._adds_split:
            self.columns.append("split")
        rows = sum(len(part) for part in self._parts.values())
        self.rows = rows if limit is None else min(limit, rows)

    def stream(
        self, columns: Sequence[str], rows: np.ndarray | None, batch: int
    ) -> Iterator[tuple[int, dict[str, Cell]]]:
        """See `Format.stream`."""
        numbers = np.arange(self.rows) if rows is None else rows
        stored = [name for name in columns if not (self._adds_split and name == "split")]
        start = 0
        for side, part in self._parts.items():
            low, high = np.searchsorted(numbers, [start, start + len(part)])
            for row, cells in _stream_part(part, numbers[low:high] - start, stored, batch):
                if self._adds_split:
                    cells["split"] = side
                yield start + row, {name: cells[name] for name in columns}
            start += len(part)

    def where(self, row: int) -> str:
        """Address, split and row number within the split, from 0."""
        for side, part in self._parts.items():
            if row < len(part):
                return f"{self.source}, {side} row {row}"
            row -= len(part)
        raise IndexError(row)

    def digest(self) -> str:
        """SHA-256 of the splits' names, lengths and the fingerprints that `datasets` keeps of their content."""
        return text_digest([f"{side!r} {len(part)} {part._fingerprint}" for side, part in self._parts.items()])


def _load(address: str, parsed: HubAddress) -> dict[str, Any]:
    """The dataset's splits by name."""
    datasets = require("datasets", "hub", "Reading a Hugging Face dataset")
    folder = Path(parsed.name)
    try:
        if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
            loaded = datasets.load_from_disk(parsed.name)
            if parsed.split is not None:
                loaded = loaded[parsed.split] if isinstance(loaded, dict) else loaded
        else:
            loaded = datasets.load_dataset(parsed.name, parsed.config, split=parsed.split)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"The dataset cannot be loaded ({' '.join(str(error).split())})",
            where=address,
            fix="Check owner, name, configuration and split, and whether the hub can be reached",
        ) from error
    parts = dict(loaded) if isinstance(loaded, dict) else {parsed.split or "train": loaded}
    unknown = [name for name in parts if len(parts) > 1 and split_name(name) is None]
    if unknown:
        raise InputError(
            f"It has splits that are neither train, validation nor test: {', '.join(unknown)}",
            where=address,
            fix=f"Choose one of its splits ({', '.join(parts)}), as in {address}:{next(iter(parts))}",
        )
    return parts


def _stream_part(part: Any, rows: np.ndarray, columns: list[str], batch: int) -> Iterator[tuple[int, dict[str, Cell]]]:
    """Rows of one split; `rows` and the numbers that are given back count from its first row."""
    if not columns:
        yield from ((int(row), {}) for row in rows)
        return
    names = {name: part.features[name].names for name in columns if hasattr(part.features[name], "names")}
    raw = part.select_columns(columns).with_format("arrow")
    size = rows_at_once(batch, raw.data.nbytes / max(len(raw), 1))
    for offset in range(0, len(rows), size):
        chosen = rows[offset : offset + size]
        first, last = int(chosen[0]), int(chosen[-1])
        table = raw[first : last + 1] if last - first + 1 == len(chosen) else raw[chosen.tolist()]
        done = 0
        for record in table.to_batches():
            for index, cells in selected_rows(record, done, None, columns):
                for name, classes in names.items():
                    cells[name] = _class_name(cells[name], classes)
                yield int(chosen[index]), cells
            done += record.num_rows


def _class_name(cell: Any, classes: list[str]) -> str | None:
    return None if cell is None or cell < 0 else classes[cell]
