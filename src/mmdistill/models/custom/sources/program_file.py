"""The file of a saved torch.export program, looked through before PyTorch reads it.

`torch.export.load` unpickles what a file says is pickled, and evaluates expressions that stand in it. A file of plain
tensors and operators needs neither, so anything else is refused before it is loaded.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from mmdistill.errors import InputError

_OPERATORS = "getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|le|lt|ge|gt|eq|ne|and_|or_|not_|xor"
_TARGET = re.compile(rf"torch\.ops\.[\w.]+|torch\._?sym_\w+|math\.\w+|_operator\.({_OPERATORS})")
_QUOTED = re.compile(r"'\w+'")
_NAMED_FLAG = re.compile(r"\b[a-z_]+=(True|False)\b")
_ALLOWED = re.compile(r"(?:[A-Z]\w*|[a-z]\d+|\d+(?:\.\d+)?|[\s()+*/<>=,&|~%-])*")


def check_program(file: Path, where: str) -> None:
    """Refuse a file that could run code of its own while it is loaded.

    Raises:
        InputError: when it holds pickled objects, expressions that are no arithmetic, calls of anything but operators,
            or is no such file.
    """
    at = f"{where} ({file})"
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            _check_payloads(archive, names, at)
            documents = [name for name in names if re.search(r"/models/[^/]*\.json$", name)]
            if not documents:
                raise InputError("This is not a program of torch.export.save", where=at, fix=_AGAIN)
            for name in documents:
                _check_document(json.loads(archive.read(name)), at)
    except (zipfile.BadZipFile, OSError, ValueError, KeyError) as error:
        raise InputError(f"The program cannot be read: {error}", where=at, fix=_AGAIN) from error


_AGAIN = "Save it again with torch.export.save of a current PyTorch"


def _check_payloads(archive: zipfile.ZipFile, names: list[str], at: str) -> None:
    """Weights and constants are plain tensors, and example inputs nothing but tensors."""
    for name in names:
        pickled = re.search(r"/data/(weights|constants)/.*(\.pt|custom_obj\w*|opaque_obj\w*)$", name)
        listed = re.search(r"/data/(weights|constants)/.*_config\.json$", name)
        entries = json.loads(archive.read(name))["config"].values() if listed else []
        if pickled or any(entry.get("use_pickle") for entry in entries):
            raise InputError(
                "The program holds pickled objects, and reading them could run code",
                where=at,
                fix="Export a model whose weights and constants are plain tensors",
            )
    _check_example_inputs(archive, [name for name in names if "/data/sample_inputs/" in name], at)


def _check_example_inputs(archive: zipfile.ZipFile, names: list[str], at: str) -> None:
    for name in names:
        with archive.open(name) as stream:
            try:
                torch.load(stream, weights_only=True)
            except (UnpicklingError, RuntimeError, EOFError) as error:
                # PyTorch would go on and unpickle them without the restriction.
                raise InputError(
                    "The program's example inputs are more than tensors, and reading them could run code",
                    where=at,
                    fix="Export it with tensors as its inputs",
                ) from error


def _check_document(document: Any, at: str) -> None:
    for key, text in _strings(document):
        if key == "target" and not _TARGET.fullmatch(text):
            raise InputError(f"The program calls {text!r}, which is no operator of torch.ops", where=at)
        if key == "expr_str" and not _is_arithmetic(text):
            raise InputError(f"The program holds an expression that is no arithmetic: {text[:60]}", where=at)


def _is_arithmetic(expression: str) -> bool:
    """Whether an expression consists of numbers, sizes and functions of them, and so can do nothing else."""
    plain = _NAMED_FLAG.sub("1", _QUOTED.sub("1", expression))
    return _ALLOWED.fullmatch(plain) is not None


def _strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a document with the key that it stands under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)
