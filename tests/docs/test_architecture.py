"""The signatures on docs/architecture.md are those of the code: names, order, defaults, keyword-only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "src" / "mmdistill"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^# (\S+\.py)$", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def stated() -> Iterator[tuple[str, str, ast.arguments]]:
    """File, dotted name and arguments of every signature on the page."""
    for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        before, *pieces = FILE.split(block)
        assert not before.strip(), "a block begins with the file it is about"
        for file, code in zip(pieces[::2], pieces[1::2], strict=True):
            for name, function in functions(ast.parse(code)):
                yield file, name, function.args


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Functions and methods by dotted name."""
    for node in tree.body:
        if isinstance(node, Function):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{inner.name}", inner) for inner in node.body if isinstance(inner, Function))


def described(arguments: ast.arguments) -> tuple[object, ...]:
    """Names, defaults and kinds, without types."""

    def text(default: ast.expr | None) -> str | None:
        return None if default is None else ast.unparse(default)

    return (
        [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]],
        [text(default) for default in arguments.defaults],
        arguments.vararg and arguments.vararg.arg,
        [
            (argument.arg, text(value))
            for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        ],
        arguments.kwarg and arguments.kwarg.arg,
    )


@pytest.mark.parametrize(
    ("file", "name", "arguments"), [pytest.param(*one, id=f"{one[0]}:{one[1]}") for one in stated()]
)
def test_signatures_are_those_of_the_code(file: str, name: str, arguments: ast.arguments) -> None:
    found = dict(functions(ast.parse((PACKAGE / file).read_text(encoding="utf-8"))))
    assert name in found
    assert described(arguments) == described(found[name].args)


def test_files_that_are_named_exist() -> None:
    named = set(re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", PAGE.read_text(encoding="utf-8")))
    assert named
    assert not [name for name in named if not (PACKAGE / name).exists()]
