"""The little language in which taps of a custom model are named. Imports no torch.

backbone.layer4               the output of that module
fc:input                      what is handed to that module
encoder.layer.3[0]            the first element of a tuple that it gives
encoder[last_hidden_state]    an entry of a mapping, or an attribute
cell#0                        of a module that runs several times in a forward pass, the first time; -1 the last
[image_embeds]                an entry of what the whole model gives
:input[attention_mask]        an argument of the whole model
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmdistill.errors import InputError, nearest

_GRAMMAR = re.compile(
    r"(?P<module>[^#:\[\]\s]*)(?:#(?P<call>-?\d+))?(?::(?P<port>input|output))?(?P<keys>(?:\[[^\[\]]+\])*)"
)


@dataclass(frozen=True)
class TapPath:
    """Where in a model a tap is taken.

    Args:
        module: dotted path of the module; empty for the whole model.
        call: which of the calls of one forward pass; None where there is one.
        port: what the module gives, or what it is given.
        keys: elements to choose, from the outside in.
    """

    module: str = ""
    call: int | None = None
    port: Literal["output", "input"] = "output"
    keys: tuple[int | str, ...] = ()

    def __str__(self) -> str:
        call = "" if self.call is None else f"#{self.call}"
        port = ":input" if self.port == "input" else ""
        return f"{self.module}{call}{port}{''.join(f'[{key}]' for key in self.keys)}"


def parse_tap_path(text: str, where: str = "") -> TapPath:
    """Read a path of this module's language.

    Raises:
        InputError: when it is not one.
    """
    found = _GRAMMAR.fullmatch(text)
    if found is None:
        raise InputError(
            f"{text!r} is not the path of a tap",
            where=where,
            fix="Write a module's path, then #call, :input and [element] where needed, as in backbone.layer4[0]",
        )
    call, port = found["call"], found["port"]
    if call is not None and not found["module"]:
        raise InputError(f"{text!r} counts the calls of no module", where=where, fix="Put a module's path in front")
    keys = tuple(_key(key) for key in re.findall(r"\[([^\[\]]+)\]", found["keys"]))
    return TapPath(found["module"], None if call is None else int(call), "input" if port == "input" else "output", keys)


def _key(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def choose(value: Any, keys: Sequence[int | str], where: str) -> Any:
    """The element that `keys` lead to.

    Raises:
        InputError: when there is no such element; the message says what there is.
    """
    for key in keys:
        value = _element(value, key, where)
    return value


def _element(value: Any, key: int | str, where: str) -> Any:
    if isinstance(value, Mapping):
        if key in value:
            return value[key]
        if isinstance(key, int) and -len(value) <= key < len(value):
            return list(value.values())[key]
        raise InputError(
            f"There is no element {key!r} in {describe(value)}", where=where, fix=nearest(str(key), list(value))
        )
    if isinstance(key, int) and isinstance(value, tuple | list) and -len(value) <= key < len(value):
        return value[key]
    if isinstance(key, str) and not hasattr(type(value), "__torch_function__") and hasattr(value, key):
        return getattr(value, key)
    raise InputError(f"There is no element {key!r} in {describe(value)}", where=where, fix="Choose one that is there")


def describe(value: Any) -> str:
    """A few words for what a module gives."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"a tensor of shape {tuple(shape)}"
    if isinstance(value, Mapping):
        return f"a mapping with the keys {', '.join(map(str, value)) or '(none)'}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a value of type {type(value).__name__}"
