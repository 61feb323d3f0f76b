"""Errors that are written for the user: what went wrong, where, and how to mend it.

Everything the package raises on purpose is a `MMDistillError`. The command line prints it as one paragraph and leaves
with its `exit_status`; a traceback is shown only with `--debug`.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class MMDistillError(Exception):
    """Something failed while working (exit status 1).

    Args:
        what: what went wrong, a sentence without a final full stop.
        where: file, line, row, column or key; put in front of the sentence.
        fix: what the user can do, a sentence without a final full stop.
    """

    exit_status = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        message = f"{where}: {what}" if where else what
        super().__init__(" ".join(_sentence(part) for part in (message, fix) if part))


def _sentence(text: str) -> str:
    """Text that ends as a sentence does."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


class InputError(MMDistillError):
    """Wrong use, or a bad recipe, table or file (exit status 2)."""

    exit_status = 2


class MissingExtra(InputError):
    """A part was asked for that needs an optional dependency which is not installed (exit status 2)."""


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency or say which extra brings it.

    Args:
        module: dotted name of the module to import.
        extra: the extra of this package that installs it, such as ``"train"``.
        purpose: what needs it, used as the subject of the message.

    Raises:
        MissingExtra: when the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"{purpose} needs the Python package {error.name or module!r}, which is not installed",
            fix=f"Install it with: pip install 'mmdistill[{extra}]'",
        ) from error


def nearest(name: str, known: list[str]) -> str:
    """A hint such as ``Did you mean 'image'?``, or the list of what is known when nothing is near."""
    import difflib

    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(sorted(known)) or 'none'}"
