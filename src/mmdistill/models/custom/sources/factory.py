"""A model that a function of the user's own makes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from mmdistill.errors import InputError, nearest
from mmdistill.models.custom.sources.loaded import Loaded
from mmdistill.recipe.custom import CustomSpec


def load_factory(spec: CustomSpec, where: str) -> Loaded:
    """Call the factory with the options.

    Its module is looked for as Python does, and in the current folder as well.

    Raises:
        InputError: when there is no such function, it does not take these options, or gives no torch.nn.Module.
    """
    assert spec.factory is not None
    where = f"{where}.factory"
    function = _function(spec.factory, where)
    try:
        module = function(**spec.options)
    except TypeError as error:
        raise InputError(
            f"{spec.factory} cannot be called with these options: {error}", where=where, fix="Check `options`"
        ) from error
    if not isinstance(module, nn.Module):
        raise InputError(f"{spec.factory} gave a {type(module).__name__}, not a torch.nn.Module", where=where)
    return Loaded(module)


def _function(target: str, where: str) -> Callable[..., Any]:
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise InputError(
            f"{target!r} does not name a function", where=where, fix="Write package.module:function, such as nets:small"
        )
    try:
        with _current_folder_is_searched():
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        own = error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}."))
        raise InputError(
            f"There is no Python module {error.name!r}" + ("" if own else f", which {module_name} imports"),
            where=where,
            fix="Install its package, or start in the folder that holds it",
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise InputError(f"{module_name} has no function {attribute!r}", where=where, fix=nearest(attribute, known))
    found: Callable[..., Any] = function
    return found


@contextmanager
def _current_folder_is_searched() -> Iterator[None]:
    """Look for modules in the current folder last, as long as this lasts."""
    folder = str(Path.cwd())
    added = folder not in sys.path and "" not in sys.path
    if added:
        sys.path.append(folder)
    try:
        yield
    finally:
        if added and folder in sys.path:
            sys.path.remove(folder)
