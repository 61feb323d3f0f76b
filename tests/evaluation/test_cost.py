"""What a model costs, against counts by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmdistill.errors import MMDistillError
from mmdistill.evaluation.cost import model_cost, parameters, saved_bytes
from mmdistill.evaluation.memory import peak_bytes
from mmdistill.evaluation.multiply_adds import multiply_adds

STEPS, INPUTS, HIDDEN = 7, 10, 20


@pytest.mark.parametrize(
    ("layer", "shape", "by_hand"),
    [
        (nn.Linear(10, 20), (1, 10), 200),
        (nn.Linear(10, 20, bias=False), (1, 7, 10), 7 * 200),
        (nn.Conv2d(3, 8, 3, padding=1), (1, 3, 16, 16), 16 * 16 * 8 * 3 * 9),
        (nn.Conv2d(3, 8, 3, stride=2), (1, 3, 17, 17), 8 * 8 * 8 * 3 * 9),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (1, 8, 16, 16), 16 * 16 * 8 * 9),
        (nn.Conv1d(4, 6, 5), (1, 4, 20), 16 * 6 * 4 * 5),
        (nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2)), (1, 3, 8, 8), 0),
        (nn.LSTM(INPUTS, HIDDEN, batch_first=True), (1, STEPS, INPUTS), STEPS * 4 * HIDDEN * (INPUTS + HIDDEN)),
        (nn.GRU(INPUTS, HIDDEN, batch_first=True), (1, STEPS, INPUTS), STEPS * 3 * HIDDEN * (INPUTS + HIDDEN)),
        (nn.RNN(INPUTS, HIDDEN, batch_first=True), (1, STEPS, INPUTS), STEPS * HIDDEN * (INPUTS + HIDDEN)),
        (
            nn.LSTM(INPUTS, HIDDEN, num_layers=2, bidirectional=True, batch_first=True),
            (1, STEPS, INPUTS),
            STEPS * 2 * 4 * HIDDEN * ((INPUTS + HIDDEN) + (2 * HIDDEN + HIDDEN)),
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_multiply_adds_of_a_layer(layer: nn.Module, shape: tuple[int, ...], by_hand: int) -> None:
    assert multiply_adds(layer.eval(), torch.randn(shape)) == by_hand
    assert multiply_adds(layer.eval(), torch.randn(4, *shape[1:])) == 4 * by_hand


def test_packed_sequences_count_their_own_steps() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(2, 7, INPUTS), [7, 3], batch_first=True)
    assert multiply_adds(nn.LSTM(INPUTS, HIDDEN), packed) == 10 * 4 * HIDDEN * (INPUTS + HIDDEN)


def test_a_transformer_layer_in_eval_mode() -> None:
    """The projections, the two products of attention, and the two layers of the feed-forward part."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    assert multiply_adds(layer, torch.randn(1, 5, 16)) == 4 * 5 * 16 * 16 + 2 * 5 * 5 * 16 + 2 * 5 * 16 * 32
    assert torch.backends.mha.get_fastpath_enabled()


def test_looking_up_an_embedding_multiplies_nothing() -> None:
    assert multiply_adds(nn.Embedding(10, 20), torch.zeros(1, 7, dtype=torch.int64)) == 0


def test_shared_parameters_count_once_and_buffers_are_saved_bytes() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4))
    model[1].weight = model[0].weight
    assert parameters(model) == 16 + 8
    assert saved_bytes(model) == 4 * (16 + 8 + 8) + 8  # weights, running statistics, the counter of batches
    assert saved_bytes(model.half()) == 4 * (16 + 8 + 8) + 8


def test_peak_memory_is_of_what_is_alive_together() -> None:
    class Chain(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            for _ in range(10):
                values = values + 1
            return values

    class Kept(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            kept = [values + step for step in range(10)]
            return torch.stack(kept)

    values, device = torch.zeros(1000), torch.device("cpu")
    with torch.inference_mode():
        assert peak_bytes(Chain(), values, device=device) == 2 * 4000
        assert peak_bytes(Kept(), values, device=device) == 20 * 4000
        assert peak_bytes(nn.Linear(1000, 10, bias=False), values[None], device=device) == 40_000 + 40
        assert peak_bytes(nn.Flatten(), values[None], device=device) == 0


class Reader(nn.Module):
    """A model of the kind that is measured: two entries of a batch in, outputs by name out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.recurrent = nn.Embedding(50, 8), nn.LSTM(8, 16, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(16, 3)
        self.seen: list[int] = []

    def forward(self, features: Any, present: Any) -> dict[str, Tensor]:
        assert not self.training
        assert not torch.is_grad_enabled()
        values = features["note"]["values"]
        assert len(present["note"]) == len(values)
        self.seen.append(len(values))
        return {"logits": self.head(self.dropout(self.recurrent(self.embedding(values))[0][:, -1]))}


def inputs(rows: int) -> tuple[Any, Any]:
    return {"note": {"values": torch.zeros(rows, STEPS, dtype=torch.int64)}}, {
        "note": torch.ones(rows, dtype=torch.bool)
    }


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_the_cost_of_a_model(rows: int) -> None:
    model = Reader().train()
    model.recurrent.eval()
    found = model_cost(model, *inputs(rows), repeats=3)
    assert found["parameters"] == 50 * 8 + 4 * 16 * (8 + 16 + 2) + 16 * 3 + 3
    assert found["megabytes"] == found["parameters"] * 4 / 1e6
    assert found["multiply_adds"] == STEPS * 4 * 16 * (8 + 16) + 16 * 3
    assert set(found["latency_ms"]) == {"batch_1", "batch_64"}
    assert 0 < found["latency_ms"]["batch_1"] < 1000
    assert set(model.seen) == {1, 64}
    assert found["peak_megabytes"] > found["megabytes"]
    assert found["device"] == "cpu"
    json.dumps(found, allow_nan=False)
    assert (model.training, model.recurrent.training, model.head.training) == (True, False, True)


def test_tensordicts_are_taken_as_they_are() -> None:
    from tensordict import TensorDict

    features, present = inputs(2)
    batch = TensorDict({"features": features, "present": present}, batch_size=[2])
    assert model_cost(Reader(), batch["features"], batch["present"], repeats=1)["multiply_adds"] > 0


class Queries(nn.Module):
    """Hands a view of a parameter to a layer, as fusions with learned queries do."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.ones(1, 2, 4))
        self.layer = nn.Linear(4, 3)

    def forward(self, features: Any, present: Any) -> dict[str, Tensor]:
        return {"logits": self.layer(self.queries.expand(len(present["note"]), -1, -1))}


def test_a_layer_may_be_given_a_view_of_a_parameter() -> None:
    model = Queries()
    model.layer.bias.requires_grad_(False)
    assert model_cost(model, *inputs(2), repeats=1)["multiply_adds"] == 2 * 4 * 3
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == [
        "queries",
        "layer.weight",
    ]


def test_nothing_to_measure_on_is_an_error() -> None:
    with pytest.raises(MMDistillError, match="empty batch"):
        model_cost(Reader(), *inputs(0))
    with pytest.raises(MMDistillError, match="without features"):
        model_cost(Reader(), {}, {})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda_the_counts_are_those_of_the_cpu() -> None:
    features, present = inputs(3)
    moved = {"note": {"values": features["note"]["values"].cuda()}}, {"note": present["note"].cuda()}
    found, expected = model_cost(Reader().cuda(), *moved, repeats=3), model_cost(Reader(), features, present, repeats=3)
    assert found["multiply_adds"] == expected["multiply_adds"]
    assert found["peak_megabytes"] > found["megabytes"]
    assert found["device"].startswith("cuda")
