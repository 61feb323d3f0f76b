"""Every fusion as an ONNX graph with any batch size and length (`memory`: one length), run without PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.models.fusion.build import build_fusion
from mmdistill.models.fusion.fused import Fused
from mmdistill.recipe.schema import Component

DIMS = {"frames": 6, "words": 8}
POOLED = {"table": 4}


class Flat(nn.Module):
    """A fusion whose inputs are tensors in a fixed order, as a graph has them."""

    def __init__(self, fusion: nn.Module, dims: dict[str, int]) -> None:
        super().__init__()
        self.fusion, self.dims = fusion, dims

    def forward(self, *tensors: Tensor) -> Tensor:
        given = iter(tensors)
        present = {column: next(given) for column in self.dims}
        embeddings = {column: next(given) for column in self.dims}
        tokens = {column: next(given) for column in DIMS}
        masks = {column: next(given) for column in DIMS}
        fused: Fused = self.fusion(embeddings, tokens, masks, present)
        return fused.embedding


def flat(dims: dict[str, int], rows: int, lengths: dict[str, int], seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    present = [torch.rand(rows, generator=generator) < 0.7 for _ in dims]
    embeddings = [torch.randn(rows, width, generator=generator) for width in dims.values()]
    tokens = [torch.randn(rows, lengths[column], width, generator=generator) for column, width in DIMS.items()]
    ends = torch.randint(1, min(lengths.values()) + 1, (rows, 1), generator=generator)
    return (*present, *embeddings, *tokens, *(torch.arange(lengths[column]) < ends for column in DIMS))


@pytest.mark.filterwarnings("ignore")  # of the exporter, about names of axes
@pytest.mark.parametrize("name", [entry.name for entry in catalog.entries("fusion")])
def test_a_fusion_gives_the_same_without_pytorch(name: str, tmp_path: Path) -> None:
    aligned = getattr(catalog.get("fusion", name), "tokens", "") == "aligned"
    dims = DIMS if aligned else POOLED | DIMS
    fusion = Flat(build_fusion(Component(name=name), dims).eval(), dims)
    rows = torch.export.Dim("rows", min=2, max=64)
    # The steps of aligned sequences are a loop in Python, as many as in the example; shorter ones are padded.
    length = {column: {} if aligned else {1: torch.export.Dim(f"{column}_length", min=2, max=64)} for column in DIMS}
    sequences = tuple({0: rows, **length[column]} for column in DIMS)
    shapes = (*({0: rows} for _ in range(2 * len(dims))), *sequences, *sequences)
    example = {"frames": 5, "words": 5 if aligned else 7}
    given = flat(dims, 3, example, 0)
    program = torch.onnx.export(fusion, given, dynamo=True, dynamic_shapes={"tensors": shapes}, verbose=False)
    assert program is not None
    path = tmp_path / "fusion.onnx"
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    # The graph leaves out inputs that play no part.
    order = {f"tensors_{index}": index for index in range(len(given))}
    for rows_now, lengths in ((3, example), (6, example if aligned else {"frames": 9, "words": 9})):
        given = flat(dims, rows_now, lengths, 1)
        with torch.no_grad():
            expected = fusion(*given)
        feeds = {one.name: given[order[one.name]].numpy() for one in session.get_inputs()}
        (found,) = session.run(None, feeds)
        # A row that has nothing may give zeros, which are to be met exactly.
        size = np.maximum(np.linalg.norm(expected.numpy(), axis=1), np.finfo(np.float32).tiny)
        error = np.linalg.norm(found - expected.numpy(), axis=1) / size
        # The root in `mfb` is steep at zero: a float's rounding there becomes some 1e-4 of the vector.
        assert error.max() < (1e-3 if name == "mfb" else 1e-5)
