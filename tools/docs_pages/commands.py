"""The reference of the command line, from the functions behind its commands."""

from __future__ import annotations

import enum
import inspect
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.models import ArgumentInfo, CommandInfo, OptionInfo

from docs_pages.markdown import code, fenced, page, table
from docs_pages.options import scalar


@dataclass(frozen=True)
class Parameter:
    """An argument or option of a command.

    Args:
        words: as it is written: ``RECIPE``, or ``--output, -o``.
        is_option: whether it is an option.
        meaning: its help.
        choices: the words allowed, if it is a choice.
        default: in text; empty when there is none worth telling.
    """

    words: tuple[str, ...]
    is_option: bool
    meaning: str
    choices: tuple[str, ...]
    default: str

    def row(self) -> tuple[str, str, str]:
        """Its line in the table of the command."""
        allowed = f"One of: {', '.join(map(code, self.choices))}." if self.choices else ""
        return ", ".join(map(code, self.words)), f"{self.meaning} {allowed}".strip(), self.default


def commands_page() -> str:
    """The help of every command, in the order of `mmdistill --help`."""
    from mmdistill.cli import app

    parts = [
        "# Commands",
        "Exit status: 0 done, 1 failed while working, 2 wrong use or bad recipe or data. An error is one paragraph "
        "that says what, where and how to mend it; `--debug` shows its traceback as well. `--json` prints a result for "
        "programs as the last line. `mmdistill --install-completion` sets up the completion of your shell.",
    ]
    for command in app.registered_commands:
        parts += _section(command)
    return page(*parts)


def _section(command: CommandInfo) -> Iterator[str]:
    assert command.callback is not None
    name = command.name or command.callback.__name__
    parameters = list(parameters_of(command.callback))
    words = [parameter.words[0] for parameter in parameters if not parameter.is_option]
    options = ["[OPTIONS]"] if any(parameter.is_option for parameter in parameters) else []
    yield f"## mmdistill {name}"
    yield _plain(inspect.getdoc(command.callback) or "")
    yield fenced(" ".join(["mmdistill", name, *words, *options]))
    if parameters:
        yield table(("", "meaning", "default"), [parameter.row() for parameter in parameters])
    if command.epilog:
        yield "Example:"
        yield fenced(command.epilog.removeprefix("Example: "), "sh")


def parameters_of(function: Any) -> Iterator[Parameter]:
    """The arguments and options of a command's function."""
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = _split(hints[name])
        required = parameter.default is parameter.empty
        is_option = isinstance(info, OptionInfo)
        if is_option:
            # In `Annotated` the first word stands where a default would.
            named = [word for word in (info.default, *(info.param_decls or ())) if isinstance(word, str)]
            words = tuple(named) or (f"--{name.replace('_', '-')}",)
        else:
            words = (info.metavar or name.upper(),)
        choices = tuple(str(item.value) for item in kind) if _is_enum(kind) else ()
        yield Parameter(words, is_option, _plain(info.help or ""), choices, _default(parameter.default, required))


def _split(hint: Any) -> tuple[Any, ArgumentInfo | OptionInfo]:
    """The type of an annotated parameter, None taken out, and what Typer is told about it."""
    kind, info = typing.get_args(hint)[:2]
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    return kind, info


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _default(value: Any, required: bool) -> str:
    if required:
        return "required"
    if value is None or value is False:
        return ""
    return code(value.as_posix() if isinstance(value, Path) else scalar(value))


def _plain(help_text: str) -> str:
    """Help without rich's markup."""
    return re.sub(r"\\\[", "[", re.sub(r"(?<!\\)\[/?(?:bold|italic|dim)\]", "", help_text))
