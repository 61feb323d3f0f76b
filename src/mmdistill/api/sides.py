"""The two models of a distillation: plain modules are wrapped, with the taps that the losses name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from mmdistill.api.batches import INPUT
from mmdistill.errors import InputError, nearest
from mmdistill.models.any_model import AnyModel
from mmdistill.models.custom.arguments import signature_of
from mmdistill.models.custom.model import CustomModel
from mmdistill.models.custom.wrap import wrap
from mmdistill.models.modes import evaluating
from mmdistill.models.multimodal import MultimodalModel


def as_model(
    module: nn.Module,
    inputs: Mapping[str, str] | None,
    taps: Mapping[str, str],
    named: Collection[str],
    example: Mapping[str, Mapping[str, Tensor]],
    side: str,
) -> AnyModel:
    """A module as a model of the library; one that is so already is used as it is.

    Args:
        module: any module.
        inputs: argument → input, where the user says it.
        taps: name → module path.
        named: taps that the losses name; those that `taps` does not have are module paths.
        example: features of a batch, on the device of the module.
        side: student or teacher, for messages.

    Raises:
        InputError: when arguments, inputs or module paths do not fit.
    """
    if isinstance(module, CustomModel | MultimodalModel):
        return module
    paths = dict(taps) | {path: path for path in named if path not in taps and path != "logits"}
    try:
        arguments = dict(inputs) if inputs else _usual(module, list(example))
        model = wrap(module, arguments, paths, example=example)
        _ = model.taps
    except InputError as error:
        where = error.where if error.where not in ("", "inputs") else "inputs"
        raise InputError(error.what, where=f"{side}_{where}", fix=error.fix) from error
    return model


def _usual(module: nn.Module, inputs: list[str]) -> dict[str, str]:
    """Which input each argument gets: the one of its name, or those of a tuple in their order."""
    signature = signature_of(module)
    if inputs[0] in (INPUT, f"{INPUT}_0"):
        if len(signature.names) < len(inputs):
            raise InputError(
                f"The module takes {len(signature.names)} arguments, and batches have {len(inputs)} inputs",
                where="inputs",
                fix=f"Say which it gets, as in {{{signature.names[0] if signature.names else 'x'!r}: {inputs[0]!r}}}",
            )
        return dict(zip(signature.names, inputs, strict=False))
    found = {name: name for name in signature.names if name in inputs}
    if not found:
        hint = nearest(signature.names[0], inputs) if signature.names else ""
        raise InputError(
            f"None of its arguments ({', '.join(signature.names)}) bears the name of an input ({', '.join(inputs)})",
            where="inputs",
            fix=f"{hint} Say which input each argument gets, as in {{'x': {inputs[0]!r}}}",
        )
    return found


@contextmanager
def left_as_it_was(module: nn.Module) -> Iterator[None]:
    """A module that is frozen inside and afterwards learns and behaves as before."""
    flags = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    with evaluating(module):
        try:
            yield
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
