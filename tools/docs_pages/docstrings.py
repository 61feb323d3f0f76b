"""Docstrings and signatures, read from the sources without running them, as Markdown."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from docs_pages.markdown import code, fenced, prose

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
LISTS = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Errors"}
PROSE = {"Returns": "Returns", "Yields": "Yields"}
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """A class or function as its file has it.

    Args:
        path: of the file.
        node: the definition.
        module_docstring: of the file; empty when there is none.
    """

    path: Path
    node: Definition
    module_docstring: str = ""

    @property
    def docstring(self) -> str:
        """The docstring with its indentation removed; empty when there is none."""
        return inspect.cleandoc(ast.get_docstring(self.node) or "")

    @property
    def is_class(self) -> bool:
        """Whether it is a class."""
        return isinstance(self.node, ast.ClassDef)

    @property
    def signature(self) -> str:
        """A function's signature as Python, one argument a line when it is long."""
        assert not isinstance(self.node, ast.ClassDef)
        returns = f" -> {ast.unparse(self.node.returns)}" if self.node.returns else ""
        arguments = _arguments(self.node.args)
        short = f"{self.node.name}({', '.join(arguments)}){returns}"
        if len(short) <= 100:
            return short
        return "\n".join([f"{self.node.name}(", *(f"    {argument}," for argument in arguments), f"){returns}"])


def _arguments(arguments: ast.arguments) -> list[str]:
    """The arguments one by one, with `*` where those begin that are named in a call."""
    plain = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
    texts = [_argument(*pair) for pair in zip(plain, [*missing, *arguments.defaults], strict=True)]
    if arguments.vararg:
        texts.append(f"*{_argument(arguments.vararg, None)}")
    elif arguments.kwonlyargs:
        texts.append("*")
    return texts + [_argument(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    return f"{argument.arg}{kind}" + (f" = {ast.unparse(default)}" if default is not None else "")


@functools.cache
def _parsed(module: str) -> tuple[Path, ast.Module]:
    spec = find_spec(module)
    assert spec is not None, f"there is no module {module}"
    assert spec.origin is not None, f"{module} has no file"
    path = Path(spec.origin)
    return path, ast.parse(path.read_text(encoding="utf-8"))


def source_of(target: str) -> Source | None:
    """The definition that ``package.module:name`` names; None when the name is no class or function."""
    module, _, name = target.partition(":")
    path, tree = _parsed(module)
    for node in tree.body:
        if isinstance(node, Definition) and node.name == name:
            return Source(path, node, ast.get_docstring(tree) or "")
    return None


def to_markdown(docstring: str) -> str:
    """A docstring with its `Args:`-like sections as bold words and lists."""
    parts: list[str] = []
    for title, body in _split(docstring):
        if title in LISTS:
            parts += [f"**{LISTS[title]}**", _entries(body)]
        elif title in PROSE:
            parts += [f"**{PROSE[title]}**", prose(body)]
        else:
            parts.append(prose(body))
    return "\n\n".join(part for part in parts if part)


def without_arguments(docstring: str) -> str:
    """The description alone, for what a recipe builds: its arguments are given by the library."""
    return "\n\n".join(prose(body) for title, body in _split(docstring) if not title)


def _split(docstring: str) -> list[tuple[str, str]]:
    """Sections as (title, body); the description has no title."""
    pattern = rf"^({'|'.join(SECTIONS)}):$\n?"
    pieces = re.split(pattern, docstring, flags=re.MULTILINE)
    found = [("", pieces[0].strip())]
    found += [
        (title, textwrap.dedent(body).strip("\n")) for title, body in zip(pieces[1::2], pieces[2::2], strict=True)
    ]
    return [(title, body) for title, body in found if body]


def _entries(body: str) -> str:
    """``name: description`` with indented continuations as a list; lists inside keep their indentation."""
    lines = []
    for line in body.splitlines():
        name, colon, rest = line.partition(":")
        if line and not line.startswith(" ") and colon and re.fullmatch(r"[\w., *]+", name):
            lines.append(f"- {code(name)}: {prose(rest.strip())}")
        else:
            lines.append(prose(f"  {line.removeprefix('    ')}") if line.strip() else "")
    return "\n".join(lines)


def signature_block(source: Source) -> str:
    """The signature as a block of Python."""
    return fenced(source.signature, "python")
