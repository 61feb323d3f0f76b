"""YAML as the user wrote it: plain values, and the line of every key so that a message can point at it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdistill.errors import InputError

KeyPath = tuple[str | int, ...]


@dataclass
class Document:
    """The content of a recipe file with the line (from 1) of each key path."""

    data: dict[str, Any]
    source: str = "recipe"
    lines: dict[KeyPath, int] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """``recipe.yaml, line 12, train.epochs``: the nearest line known for a key path."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                break
        else:
            line = None
        parts = [self.source, f"line {line}" if line else "", ".".join(map(str, path))]
        return ", ".join(part for part in parts if part)


def read_document(path: str | Path) -> Document:
    """Read a YAML file.

    Raises:
        InputError: when the file is missing, is not UTF-8, is not YAML, repeats a key, or is not a mapping.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError("There is no such file", where=str(path), fix="Check the path of the recipe") from None
    except IsADirectoryError:
        raise InputError(
            "This is a folder, not a recipe file", where=str(path), fix="Give the path of a YAML file"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"The file is not UTF-8 text (byte {error.start})", where=str(path), fix="Save it as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"The file cannot be read: {error.strerror}", where=str(path)) from None
    return parse_document(text, source=path.name)


def parse_document(text: str, source: str = "recipe") -> Document:
    """Parse YAML text; see `read_document`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        content = YAML(typ="rt", pure=True).load(io.StringIO(text))
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem = str(error.problem or "a key stands twice").replace("found duplicate key", "the key is written twice:")
        problem = problem.split(" with value")[0]
        raise InputError(problem, where=f"{source}, line {line}", fix="Keep one of the two") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}, line {mark.line + 1}, column {mark.column + 1}" if mark else source
        raise InputError(f"This is not valid YAML: {error.problem or error.context}", where=place) from None
    except (YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"This is not valid YAML: {str(error).splitlines()[0]}", where=source) from None
    if not isinstance(content, Mapping):
        raise InputError(
            "A recipe is a mapping of keys to values", where=source, fix="See `mmdistill init` for a first one"
        )
    lines: dict[KeyPath, int] = {}
    return Document(_plain(content, (), lines), source, lines)


def _plain(value: Any, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    """Turn ruamel's round-trip types into plain ones, noting lines on the way."""
    if isinstance(value, Mapping):
        result = {}
        for key, item in value.items():
            here = (*path, str(key))
            position = getattr(value, "lc", None)
            if position is not None and position.data and key in position.data:
                lines[here] = position.data[key][0] + 1
            result[str(key)] = _plain(item, here, lines)
        return result
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        items = []
        for index, item in enumerate(value):
            here = (*path, index)
            position = getattr(value, "lc", None)
            if position is not None and position.data and index in position.data:
                lines[here] = position.data[index][0] + 1
            items.append(_plain(item, here, lines))
        return items
    for plain in (bool, int, float, str):
        if isinstance(value, plain):
            return plain(value)
    return value


def apply_overrides(document: Document, overrides: Sequence[str]) -> Document:
    """Set keys from ``a.b.c=value`` words; values are read as YAML, list items are named by number.

    Raises:
        InputError: when a word has no ``=``, a value is not YAML, or the path goes through something that has no keys.
    """
    for word in overrides:
        name, equals, text = word.partition("=")
        if not equals or not name.strip():
            raise InputError(
                f"{word!r} is not an override",
                where="command line",
                fix="Write it as key.path=value, such as train.epochs=3",
            )
        value = parse_document(f"value: {text}", source=f"override {name}").data["value"]
        name = _long_name(document.data, name.strip())
        _assign(document.data, name.strip().split("."), value, word)
        for path in [path for path in document.lines if ".".join(map(str, path)).startswith(name.strip())]:
            del document.lines[path]
    return document


def _long_name(data: dict[str, Any], name: str) -> str:
    """`student.x` as `students.<its name>.x` where a recipe states its only one of a kind in the long form."""
    short, dot, rest = name.partition(".")
    held = data.get(f"{short}s")
    if short in ("student", "task", "teacher") and short not in data and isinstance(held, dict) and len(held) == 1:
        return f"{short}s.{next(iter(held))}{dot}{rest}"
    return name


def _assign(data: dict[str, Any], path: list[str], value: Any, word: str) -> None:
    holder: Any = data
    for position, part in enumerate(path):
        last = position == len(path) - 1
        if isinstance(holder, list):
            if not part.isdigit() or int(part) >= len(holder):
                raise InputError(
                    f"{part!r} is not an item of a list of {len(holder)}",
                    where=f"override {word}",
                    fix="Items are numbered from 0",
                )
            key: Any = int(part)
        elif isinstance(holder, dict):
            key = part
        else:
            raise InputError(
                f"{'.'.join(path[:position])!r} holds {holder!r}, which has no keys", where=f"override {word}"
            )
        if last:
            holder[key] = value
            return
        following = holder[key] if isinstance(holder, list) else holder.setdefault(key, {})
        if isinstance(following, str):
            # A short form grows into its long form: `sound: tiny_cnn` and `encoders.sound.width=8`.
            following = {"type" if "columns" in path[:position] or part == "task" else "name": following}
            holder[key] = following
        elif following is None:
            holder[key] = following = {}
        holder = following


def dump_yaml(data: Mapping[str, Any]) -> str:
    """YAML text of plain data, keys in their order."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 110
    stream = io.StringIO()
    yaml.dump(_keep_order(data), stream)
    return stream.getvalue()


def _keep_order(data: Any) -> Any:
    """Plain containers, so that the safe dumper accepts every value of a pydantic dump."""
    if isinstance(data, Mapping):
        return {str(key): _keep_order(item) for key, item in data.items()}
    if isinstance(data, list | tuple):
        return [_keep_order(item) for item in data]
    return data
