"""An ONNX file as a module that teaches and cannot learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from mmdistill.errors import InputError, MMDistillError, nearest
from mmdistill.models.custom.source_files import file_digest
from mmdistill.models.custom.sources.loaded import Loaded
from mmdistill.recipe.custom import CustomSpec

_TYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(float16)": torch.float16,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(uint8)": torch.uint8,
    "tensor(bool)": torch.bool,
}


class OnnxModule(nn.Module):
    """Runs an ONNX file with onnxruntime, on the CPU.

    It has no parameters and gives no gradient. From an accelerator its inputs are copied to the host in every forward
    pass, so that stored signals suit it better than live ones.

    Args:
        file: the ONNX file.
        where: for messages.

    Attributes:
        input_names: its inputs, in their order.
        output_names: its outputs, in their order.
        digest: SHA-256 of the file, a buffer, so that signals stored from another file are told apart.

    Raises:
        InputError: when it is no ONNX file, or one for batches of a fixed size.
    """

    digest: Tensor

    def __init__(self, file: Path, where: str) -> None:
        super().__init__()
        if not file.is_file():
            raise InputError(f"There is no file {file}", where=where, fix="Check the path")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class but Exception
            raise InputError(f"onnxruntime cannot read the file: {error}", where=f"{where} ({file})") from error
        inputs = self._session.get_inputs()
        fixed = [one.name for one in inputs if one.shape and isinstance(one.shape[0], int)]
        if fixed:
            raise InputError(
                f"The input {fixed[0]!r} is for batches of exactly {inputs[0].shape[0]} rows",
                where=f"{where} ({file})",
                fix="Export it again with a batch axis that may vary (dynamic_axes, dynamic_shapes)",
            )
        unknown = [one for one in inputs if one.type not in _TYPES]
        if unknown:
            raise InputError(
                f"The input {unknown[0].name!r} is of type {unknown[0].type}, which no feature has",
                where=f"{where} ({file})",
            )
        self._types = {one.name: _TYPES[one.type] for one in inputs}
        self.input_names = tuple(self._types)
        self.output_names = tuple(one.name for one in self._session.get_outputs())
        self.register_buffer("digest", torch.frombuffer(bytearray(file_digest(file)), dtype=torch.uint8))

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Every output by name, on the device of the inputs.

        Raises:
            InputError: when an input is missing or unknown.
            MMDistillError: when the file cannot be applied to these inputs.
        """
        for name in inputs:
            if name not in self._types:
                raise InputError(f"The ONNX file has no input {name!r}", fix=nearest(name, list(self._types)))
        device = next(iter(inputs.values())).device
        arrays = {
            name: values.detach().to("cpu", self._types[name]).contiguous().numpy() for name, values in inputs.items()
        }
        try:
            results = self._session.run(None, arrays)
        except Exception as error:  # see above
            raise MMDistillError(f"The ONNX file cannot be applied to these inputs: {error}", where="custom") from error
        found = zip(self.output_names, results, strict=True)
        return {name: torch.from_numpy(np.ascontiguousarray(values)).to(device) for name, values in found}


def load_onnx(spec: CustomSpec, where: str) -> Loaded:
    """Open the ONNX file of a specification.

    Raises:
        InputError: see `OnnxModule`.
    """
    assert spec.onnx is not None
    file = Path(spec.onnx).expanduser().absolute()
    return Loaded(OnnxModule(file, f"{where}.onnx"), portable={"onnx": str(file)})
