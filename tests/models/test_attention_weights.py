"""Attention weights, computed again beside a pass, are those that the pass used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import catalog
from mmdistill.models.attention_weights import attention_weights, shows_attention
from mmdistill.models.fusion.attention_layout import ShowsAttention, learned_label
from mmdistill.models.layers.transformer import Attention
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import ModelSpec
from tests.models.features import arrays, image, text, vector

# A column called like a learned position, and one whose name PyTorch refuses for a module.
INFOS = {"class": image("class", size=8), "type.note": text("type.note"), "lab": vector("lab")}
LENGTHS = [4, 7, 2]
FUSIONS = ("cross_attention", "mult", "bottleneck", "single_stream", "perceiver", "attention_pooling")


def model(fusion: Any) -> MultimodalModel:
    encoders = {
        "class": {"name": "tiny_cnn", "width": 8},
        "type.note": {"name": "transformer", "dim": 16, "depth": 1},
        "lab": {"name": "mlp", "hidden": [8]},
    }
    spec = ModelSpec.model_validate({"encoders": encoders, "fusion": fusion, "head_dropout": 0.5})
    return build_model(spec, INFOS, {"digit": 3}, 0)


def batch() -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """Three rows; the second has no note, the third no picture."""
    features = {info.name: arrays(info, LENGTHS) for info in INFOS.values()}
    present = {column: torch.ones(3, dtype=torch.bool) for column in INFOS}
    present["type.note"][1] = False
    present["class"][2] = False
    return features, present


@pytest.mark.parametrize("each_query", [False, True])
def test_weights_times_values_is_the_output(each_query: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2).double()
    queries, keys = torch.randn(3, 4, 8, dtype=torch.float64), torch.randn(3, 5, 8, dtype=torch.float64)
    mask = torch.rand(3, *([4] if each_query else []), 5) < 0.6
    mask[0] = False
    weights = attention.weights(queries, keys, mask)
    assert weights.shape == (3, 2, 4, 6)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 2, 4, dtype=torch.float64))
    values = F.pad(attention.value(keys), (0, 0, 0, 1)).unflatten(-1, (2, 4)).transpose(1, 2)
    output = attention.out((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(output, attention(queries, keys, mask))
    assert (weights[0, ..., -1] == 1).all(), "with every key masked, all goes to the extra one"
    allowed = (mask if each_query else mask.unsqueeze(1).expand(-1, 4, -1)).unsqueeze(1).expand(-1, 2, -1, -1)
    assert (weights[..., :-1][~allowed] == 0).all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_attention_of_a_fusion_is_there_with_its_layout(fusion: str) -> None:
    network = model(fusion)
    found = attention_weights(network, *batch())
    modules = {path for path, module in network.fusion.named_modules() if isinstance(module, Attention)}
    assert {path.split(" (")[0] for path in found} == modules
    for path, each in found.items():
        queries, keys = len(each.layout.queries), len(each.layout.keys)
        assert each.weights.shape == (3, queries, keys + 1), path
        assert each.counted.shape == (3, queries), path
        torch.testing.assert_close(each.weights.sum(-1), torch.ones(3, queries))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_absent_columns_get_nothing_and_do_not_count(fusion: str) -> None:
    for path, each in attention_weights(model(fusion), *batch()).items():
        for row, absent in ((1, "type.note"), (2, "class")):
            keys = [place for place, label in enumerate(each.layout.keys) if label == absent]
            counted = each.counted[row]
            assert (each.weights[row][counted][:, keys] == 0).all(), path
            queries = [place for place, label in enumerate(each.layout.queries) if label == absent]
            assert not counted[queries].any(), path


def test_padding_does_not_count_as_a_query() -> None:
    found = attention_weights(model("single_stream"), *batch())["layers.0.attention"]
    note = [place for place, label in enumerate(found.layout.queries) if label == "type.note"]
    # The pooled position and as many as the text has words; the second row has no note.
    assert found.counted[:, note].sum(1).tolist() == [1 + 4, 0, 1 + 2]


def test_a_stream_of_an_absent_column_has_no_say_with_its_bottlenecks() -> None:
    found = attention_weights(model("bottleneck"), *batch())
    of_note = next(each for each in found.values() if each.layout.column == "type.note")
    assert of_note.counted.any(1).tolist() == [True, False, True]


def test_weights_used_several_times_are_told_apart() -> None:
    found = attention_weights(model({"name": "perceiver", "repeats": 3}), *batch())
    reads = [path for path in found if "read" in path]
    assert reads == ["blocks.0.read.attention", "blocks.0.read.attention (2)", "blocks.0.read.attention (3)"]
    first, second = found[reads[0]].weights, found[reads[1]].weights
    assert not torch.allclose(first, second)


def test_a_column_called_like_a_learned_position_keeps_its_name() -> None:
    found = attention_weights(model("single_stream"), *batch())["layers.0.attention"]
    assert set(found.layout.queries) == {"class", "[class]", "type.note", "lab"}
    assert learned_label("latent", ["a", "latent", "[latent]"]) == "[[latent]]"


def test_the_pass_is_in_eval_mode_and_leaves_nothing_behind() -> None:
    network = model("single_stream").train()
    network.encoders["lab"].eval()
    first, second = (attention_weights(network, *batch()) for _ in range(2))
    torch.testing.assert_close(first["layers.0.attention"].weights, second["layers.0.attention"].weights)
    assert network.training
    assert not network.encoders["lab"].training
    assert not first["layers.0.attention"].weights.requires_grad
    for module in network.modules():
        assert not module._forward_pre_hooks
        assert not module._forward_hooks


def test_hooks_are_removed_also_when_the_pass_fails() -> None:
    network = model("single_stream")
    with pytest.raises(RuntimeError):
        attention_weights(network, {"lab": {"values": torch.zeros(2, 99)}})
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_fusion_without_attention_has_none() -> None:
    network = model("concat")
    assert not shows_attention(network)
    assert attention_weights(network, *batch()) == {}


def test_a_layout_names_every_attention_of_its_fusion() -> None:
    shown = []
    for entry in catalog.entries("fusion"):
        if getattr(entry, "tokens", "") == "aligned":
            continue
        fusion = model(entry.name).fusion
        if isinstance(fusion, ShowsAttention):
            shown.append(entry.name)
            modules = {path for path, module in fusion.named_modules() if isinstance(module, Attention)}
            assert fusion.attention_layout({}).keys() == modules, entry.name
    assert set(FUSIONS) <= set(shown)
