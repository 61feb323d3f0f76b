"""A saved torch.export program as a module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mmdistill.errors import InputError
from mmdistill.models.custom.sources.loaded import Loaded
from mmdistill.models.custom.sources.program_file import check_program
from mmdistill.models.custom.tap_path import parse_tap_path
from mmdistill.recipe.custom import CustomSpec


class ProgramModule(nn.Module):
    """A program of `torch.export`, called by the names of its inputs.

    Its graph is fixed: dropout and batch statistics are what they were when it was exported, in every mode.

    Args:
        program: exported with a batch axis that may vary.
        with_modules: keep the modules of the model that was exported, so that taps can name them; slower.
        where: for messages.

    Attributes:
        input_names: its inputs, in their order.
        original: what it runs.

    Raises:
        InputError: when its inputs are nested, or its batches of a fixed size.
    """

    def __init__(self, program: ExportedProgram, with_modules: bool, where: str) -> None:
        super().__init__()
        self.input_names, self._by_position = _inputs(program, where)
        self._types = _input_types(program, self.input_names, where)
        self.original = torch.export.unflatten(program) if with_modules else program.module(check_guards=False)

    def train(self, mode: bool = True) -> ProgramModule:
        """Remember the mode; a program has none."""
        self.training = mode
        return self

    def forward(self, **inputs: Tensor) -> Any:
        """What the program gives."""
        values = [inputs[name].to(kind) for name, kind in zip(self.input_names, self._types, strict=True)]
        named = dict(zip(self.input_names[self._by_position :], values[self._by_position :], strict=True))
        return self.original(*values[: self._by_position], **named)


def _inputs(program: ExportedProgram, where: str) -> tuple[tuple[str, ...], int]:
    """The names of the inputs, and how many of them are given by position."""
    names = program.graph_signature.user_inputs
    specification = program.call_spec.in_spec
    nested = specification is None or any(
        not leaf.is_leaf() for part in specification.children() for leaf in part.children()
    )
    if nested or any(not isinstance(name, str) for name in names):
        raise InputError(
            "The program takes more than plain tensors",
            where=where,
            fix="Export a module whose forward takes one tensor an argument",
        )
    positional, named = specification.children()
    own = (*names[: positional.num_children], *(str(name) for name in named.context or ()))
    return tuple(str(name) for name in own), positional.num_children


def _input_types(program: ExportedProgram, names: Sequence[str], where: str) -> tuple[torch.dtype, ...]:
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"][-len(names) :]
    values = [node.meta["val"] for node in placeholders]
    for name, value in zip(names, values, strict=True):
        if value.dim() and isinstance(value.shape[0], int):
            raise InputError(
                f"The input {name!r} is for batches of exactly {value.shape[0]} rows",
                where=where,
                fix="Export it again with dynamic_shapes that let the batch axis vary: {0: torch.export.Dim('rows')}",
            )
    return tuple(value.dtype for value in values)


def load_program(spec: CustomSpec, where: str) -> Loaded:
    """Load the program of a specification, after looking through its file; see `check_program`.

    Raises:
        InputError: when there is no such file, it could run code of its own, or does not take batches.
    """
    assert spec.program is not None
    file, where = Path(spec.program).expanduser().absolute(), f"{where}.program"
    if not file.is_file():
        raise InputError(f"There is no file {spec.program}", where=where, fix="Check the path")
    check_program(file, where)
    try:
        program = torch.export.load(file)
    except Exception as error:  # a file of another version fails in many ways
        raise InputError(
            f"PyTorch cannot load the program: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=f"{where} ({file})",
            fix="Save it again with this version of PyTorch",
        ) from error
    inside = any(parse_tap_path(path).module for path in spec.taps.values())
    module = ProgramModule(program, inside, f"{where} ({file})")
    return Loaded(module, portable={"program": str(file)})
