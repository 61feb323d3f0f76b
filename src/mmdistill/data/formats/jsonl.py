"""JSON Lines (one object a line), plain or gzip, with the standard library only. Values keep their JSON type."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdistill.data.cells import Cell, absent_as_none
from mmdistill.data.formats.base import file_digest
from mmdistill.data.formats.text_file import LineNumbers, text_lines
from mmdistill.errors import InputError


class JSONLines:
    """A table of JSON objects. Its columns are the keys of all rows; a key that a row lacks is an absent cell.

    Opening reads the file once and keeps the line numbers and column names only.

    Raises:
        InputError: naming the line, when it is not a JSON object.
    """

    def __init__(self, path: Path, limit: int | None) -> None:
        self.path, self.root, self.source = path, path.parent, str(path)
        self._lines = LineNumbers()
        names: dict[str, None] = {}
        self.rows = 0
        records = self._records()
        for line, record in records:
            self._lines.add(self.rows, line)
            names.update(dict.fromkeys(record))
            self.rows += 1
            if self.rows == limit:
                break
        records.close()
        self.columns = list(names)

    def stream(
        self, columns: Sequence[str], rows: np.ndarray | None, batch: int
    ) -> Iterator[tuple[int, dict[str, Cell]]]:
        """See `Format.stream`."""
        del batch  # lines are read one by one
        wanted = iter(range(self.rows) if rows is None else rows.tolist())
        target = next(wanted, None)
        records = self._records()
        for row, (_, record) in enumerate(records):
            if target is None:
                break
            if row == target:
                yield row, {name: absent_as_none(record.get(name)) for name in columns}
                target = next(wanted, None)
        records.close()
        if target is not None:
            raise InputError("The file has become shorter while it was in use", where=self.source)

    def where(self, row: int) -> str:
        """File name and line."""
        return f"{self.path.name}, line {self._lines.line(row)}"

    def digest(self) -> str:
        """SHA-256 of the file as it lies on the disk."""
        return file_digest(self.path)

    def _records(self) -> Generator[tuple[int, dict[str, Any]], None, None]:
        with text_lines(self.path) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.isspace():
                    yield number, _parsed(line, f"{self.path.name}, line {number}")


def _parsed(line: str, where: str) -> dict[str, Any]:
    fix = 'Every line is one JSON object, such as {"text": "good", "label": 1}'
    try:
        record = json.loads(line, object_pairs_hook=_without_duplicates)
        if "\\u" in line:  # the only way for half of a surrogate pair to enter, which no later step could encode
            json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            "A \\u escape is half of a surrogate pair", where=where, fix="Write the whole character"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"The line is not valid JSON ({error})", where=where, fix=fix) from error
    if not isinstance(record, dict):
        raise InputError(f"The line holds a {type(record).__name__}, not an object", where=where, fix=fix)
    return record


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice")
    return record
