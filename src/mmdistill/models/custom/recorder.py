"""Forward hooks that keep what modules give, for as long as one forward pass takes and no longer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from mmdistill.errors import InputError, nearest
from mmdistill.models.custom.tap_path import TapPath, choose


class Recorder:
    """What the modules of a model give in one forward pass, by tap.

    Outside of a forward pass it holds nothing and its hooks do nothing, so that a model which is used by itself, by
    another wrapper or by activation checkpointing leaves no tensors here. One recorder serves one forward pass at a
    time.

    Args:
        module: the model.
        paths: tap → where it is taken; those of the whole model are not this class's business.

    Raises:
        InputError: when the model has no such module; the message names the nearest one.
    """

    def __init__(self, module: nn.Module, paths: Mapping[str, TapPath]) -> None:
        self.recording = False
        self.watching = False
        self._paths = {tap: path for tap, path in paths.items() if path.module}
        self._calls: dict[str, list[Any]] = {tap: [] for tap in self._paths}
        self._overwritable: dict[str, list[tuple[Tensor, int]]] = {}
        modules = {tap: find_module(module, path.module, f"taps.{tap}") for tap, path in self._paths.items()}
        self._handles = [
            found.register_forward_hook(_Hook(self, tap, self._paths[tap]), with_kwargs=True)
            for tap, found in modules.items()
        ]

    def start(self, watching: bool = False) -> None:
        """Begin a forward pass; a `watching` one also finds tensors that are changed after they were recorded."""
        self.recording, self.watching = True, watching

    def stop(self) -> None:
        """End a forward pass, whether it succeeded or not, and forget what was kept."""
        self.recording = self.watching = False
        for calls in self._calls.values():
            calls.clear()
        self._overwritable.clear()

    def add(self, tap: str, value: Any) -> None:
        """Keep what a module gave."""
        self._calls[tap].append(value)
        if self.watching and isinstance(value, Tensor):
            self._overwritable.setdefault(tap, []).append((value, value._version))

    def values(self) -> dict[str, Any]:
        """What the pass gave, by tap.

        Raises:
            InputError: when a module did not run, ran several times and no call is chosen, or its output was changed in
                place afterwards.
        """
        for tap, kept in self._overwritable.items():
            if any(value._version != version for value, version in kept):
                _refuse_overwritten(tap, self._paths[tap])
        return {tap: _one_call(tap, self._paths[tap], calls) for tap, calls in self._calls.items()}

    def remove(self) -> None:
        """Take the hooks off the model's modules."""
        for handle in self._handles:
            handle.remove()


class _Hook:
    """One module's hook. An object and not a closure, so that a copied model records into its own recorder."""

    def __init__(self, recorder: Recorder, tap: str, path: TapPath) -> None:
        self.recorder, self.tap, self.path = recorder, tap, path

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:  # noqa: ARG002
        if self.recorder.recording:
            where = f"taps.{self.tap}"
            if self.path.port == "input":
                value = chosen_argument(args, kwargs, self.path.keys, where)
            else:
                value = choose(output, self.path.keys, where)
            self.recorder.add(self.tap, value)


def chosen_argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], keys: tuple[int | str, ...], where: str) -> Any:
    """An argument of a module, by position or name, and then an element of it; the first one without keys."""
    if not keys:
        return args[0] if args else choose(kwargs, (0,), where)
    given = args if isinstance(keys[0], int) else kwargs
    return choose(given, keys, where)


def find_module(root: nn.Module, path: str, where: str) -> nn.Module:
    """The module at a path, seen through wrappers such as DistributedDataParallel and torch.compile.

    A module that only stands for another one, as that of a saved program does, holds it as `original`.

    Raises:
        InputError: when there is none.
    """
    inner = unwrapped(root)
    original = getattr(inner, "original", inner)
    modules = {_plain(name): module for name, module in original.named_modules()}
    found = modules.get(path)
    if found is None:
        raise InputError(f"The model has no module {path!r}", where=where, fix=_near(path, list(modules)[1:]))
    return unwrapped(found)


def _plain(name: str) -> str:
    """A module's path without what torch.compile puts into it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def unwrapped(module: nn.Module) -> nn.Module:
    """The user's own module inside of DistributedDataParallel, DataParallel and torch.compile."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if isinstance(module, DistributedDataParallel | DataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def _near(path: str, known: list[str]) -> str:
    """The nearest path, or the parts of the deepest module on the way that exists; never a list of hundreds."""
    hint = nearest(path, known)
    if hint.startswith("Did"):
        return hint
    parent = path
    while parent and parent not in known:
        parent = parent.rpartition(".")[0]
    prefix = f"{parent}." if parent else ""
    children = sorted({prefix + name.removeprefix(prefix).split(".")[0] for name in known if name.startswith(prefix)})
    return f"There {'is no module in it' if not children else 'are ' + ', '.join(children[:20])}"


def _one_call(tap: str, path: TapPath, calls: list[Any]) -> Any:
    if not calls:
        raise InputError(
            f"The module {path.module!r} did not run in this forward pass",
            where=f"taps.{tap}",
            fix="Name a module that runs in every forward pass",
        )
    if path.call is None and len(calls) > 1:
        raise InputError(
            f"The module {path.module!r} runs {len(calls)} times in a forward pass",
            where=f"taps.{tap}",
            fix=f"Say which: {path.module}#0 is the first time, {path.module}#-1 the last",
        )
    index = path.call or 0
    if not -len(calls) <= index < len(calls):
        raise InputError(
            f"The module {path.module!r} runs {len(calls)} times in a forward pass, so there is no call {index}",
            where=f"taps.{tap}",
            fix=f"Choose 0 to {len(calls) - 1}, or -1 for the last",
        )
    return calls[index]


def _refuse_overwritten(tap: str, path: TapPath) -> None:
    raise InputError(
        f"What {str(path)!r} names is changed in place later in the forward pass, so the tap would hold something else",
        where=f"taps.{tap}",
        fix="Tap the module that changes it, such as the activation behind it, or build that one with inplace=False",
    )
