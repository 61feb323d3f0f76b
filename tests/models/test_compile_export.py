"""The common encoders and every fusion as one graph: torch.export traces them, with any batch size and length."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmdistill import catalog
from mmdistill.data.features import FeatureInfo
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import Component, ModelSpec
from tests.models.features import arrays, image, log_mel, tabular, text, vector

MODELS: dict[str, dict[str, tuple[FeatureInfo, Component]]] = {
    "image": {"image": (image(), Component(name="resnet", widths=[8, 16]))},
    "mobilenet": {"image": (image(), Component(name="mobilenet", widths=[8, 16], blocks=1))},
    "text": {"text": (text(), Component(name="transformer", dim=16))},
    "bilstm": {"text": (text(), Component(name="bilstm", hidden=8))},
    "audio": {"sound": (log_mel(), Component(name="tiny_cnn"))},
    "tabular": {"table": (tabular(), Component(name="ft_transformer", dim=16))},
    "vector": {"vector": (vector(), Component(name="mlp", hidden=[8]))},
}


class Logits(nn.Module):
    def __init__(self, model: MultimodalModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: dict[str, dict[str, Tensor]], present: dict[str, Tensor]) -> Tensor:
        return self.model(features, present)["logits"]


def build(columns: dict[str, tuple[FeatureInfo, Component]], fusion: str | None = None) -> MultimodalModel:
    spec = ModelSpec(
        encoders={column: component for column, (_, component) in columns.items()},
        fusion=None if fusion is None else Component(name=fusion),
    )
    return build_model(spec, {column: info for column, (info, _) in columns.items()}, {"digit": 3}, 0).eval()


def inputs(columns: dict[str, tuple[FeatureInfo, Component]], lengths: list[int]) -> tuple[Any, Any]:
    features = {info.name: arrays(info, lengths) for info, _ in columns.values()}
    present = {column: torch.ones(len(lengths), dtype=torch.bool) for column in columns}
    present[next(iter(columns))][0] = False
    return features, present


# torch.export unrolls an LSTM over time, so the length of its texts is fixed in the graph.
FIXED_LENGTH = ("bilstm",)


def check(model: MultimodalModel, columns: dict[str, tuple[FeatureInfo, Component]], any_length: bool = True) -> None:
    rows = torch.export.Dim("rows", min=2, max=64)
    features, present = inputs(columns, [24, 16, 7])
    shapes = (
        {
            name: {
                key: {0: rows}
                | ({1: torch.export.Dim(f"length_{index}", min=16, max=512)} if "mask" in part and any_length else {})
                for key in part
            }
            for index, (name, part) in enumerate(features.items())
        },
        {column: {0: rows} for column in present},
    )
    program = torch.export.export(Logits(model), (features, present), dynamic_shapes=shapes)
    for lengths in ([24, 16, 7], [31 if any_length else 24, 5, 9, 2, 20]):
        features, present = inputs(columns, lengths)
        torch.testing.assert_close(
            program.module()(features, present), model(features, present)["logits"], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", MODELS)
def test_encoders_export(name: str) -> None:
    check(build(MODELS[name]), MODELS[name], any_length=name not in FIXED_LENGTH)


FUSIONS = [entry.name for entry in catalog.entries("fusion") if getattr(entry, "tokens", "") != "aligned"]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_fusions_export_with_any_batch_size_and_length(fusion: str) -> None:
    columns = MODELS["vector"] | MODELS["text"]
    check(build(columns, fusion), columns)


def test_the_model_has_no_graph_break() -> None:
    """Traced whole by torch.compile's front end; the code generator behind it is PyTorch's own affair."""
    columns = MODELS["image"] | MODELS["audio"] | MODELS["text"] | MODELS["tabular"]
    model = build(columns, "cross_attention").train()
    features, present = inputs(columns, [24, 16, 7])
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)
    expected = build(columns, "cross_attention").eval()(features, present)["logits"]
    model.eval()
    torch.testing.assert_close(compiled(features, present)["logits"], expected)
