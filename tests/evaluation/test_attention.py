"""Shares of attention over the rows of a loader."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from mmdistill.evaluation import attention as module
from mmdistill.evaluation.attention import attention_shares
from mmdistill.models.attention_weights import attention_weights
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import ModelSpec
from tests.models.features import arrays, image, text

IMAGE, NOTE = image(size=8), text("note")
LENGTHS = [4, 9, 2, 7, 1, 3, 5]
HAS_NOTE = torch.tensor([1, 1, 0, 1, 1, 0, 1], dtype=torch.bool)
FUSIONS = ("cross_attention", "mult", "bottleneck", "single_stream", "perceiver", "attention_pooling")


class Rows:
    """A loader of seven rows, some without a note, in batches of the given rows; or with no note in any."""

    def __init__(self, *batches: list[int], notes: bool = True) -> None:
        self.groups = batches
        self.notes = HAS_NOTE & notes

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        pictures, words = (arrays(info, LENGTHS)["values"] for info in (IMAGE, NOTE))
        for rows in self.groups[start:]:
            longest = max(LENGTHS[row] for row in rows)
            mask = torch.arange(longest) < torch.tensor([[LENGTHS[row]] for row in rows])
            yield TensorDict(
                {
                    "features": {
                        "image": {"values": pictures[rows]},
                        "note": {"values": words[rows][:, :longest], "mask": mask},
                    },
                    "present": {"image": torch.ones(len(rows), dtype=torch.bool), "note": self.notes[rows]},
                    "row": torch.tensor(rows),
                },
                batch_size=[len(rows)],
            )


WHOLE = Rows([0, 1, 2, 3, 4, 5, 6])


def model(fusion: Any) -> MultimodalModel:
    encoders = {"image": {"name": "tiny_cnn", "width": 8}, "note": {"name": "transformer", "dim": 16, "depth": 1}}
    spec = ModelSpec.model_validate({"encoders": encoders, "fusion": fusion})
    return build_model(spec, {"image": IMAGE, "note": NOTE}, {"digit": 3}, 0)


def shares_of(network: MultimodalModel, loader: Rows) -> dict[str, Any]:
    found = attention_shares(network, loader)
    assert found is not None
    return found


@pytest.mark.parametrize("fusion", FUSIONS)
def test_shares_are_json_and_sum_to_one(fusion: str) -> None:
    found = shares_of(model(fusion), WHOLE)
    assert json.loads(json.dumps(found)) == found
    for table in [*found["layers"].values(), found["mean"]]:
        assert table["keys"][-1] == "nothing"
        assert len(table["shares"]) == len(table["queries"])
        for row in table["shares"]:
            assert sum(row) == pytest.approx(1)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_batches_do_not_matter(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = model(fusion)
    whole = shares_of(network, WHOLE)
    monkeypatch.setattr(module, "ROWS", 2)
    parts = shares_of(network, Rows([5, 0], [3, 4, 1], [6, 2]))
    assert parts["layers"].keys() == whole["layers"].keys()
    for path, table in whole["layers"].items():
        assert parts["layers"][path]["queries"] == table["queries"]
        assert parts["layers"][path]["keys"] == table["keys"]
        for ours, theirs in zip(parts["layers"][path]["shares"], table["shares"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6)


def test_a_share_is_the_mean_over_real_queries_of_what_goes_to_the_keys_of_a_label() -> None:
    network = model("single_stream")
    table = shares_of(network, WHOLE)["layers"]["layers.0.attention"]
    batch = next(WHOLE.batches(0))
    weights = attention_weights(network, batch["features"], batch["present"])["layers.0.attention"]
    labels = weights.layout.queries
    assert table["queries"] == ["image", "note", "class"]
    assert table["keys"] == ["image", "note", "class", "nothing"]
    total, count = 0.0, 0
    for row in range(7):
        for query, label in enumerate(labels):
            real = label == "note" and bool(weights.counted[row, query])
            count += real
            total += real * sum(
                float(weights.weights[row, query, key]) for key, other in enumerate(labels) if other == "image"
            )
    assert count == sum(1 + length for length, there in zip(LENGTHS, HAS_NOTE.tolist(), strict=True) if there)
    assert table["shares"][1][0] == pytest.approx(total / count, rel=1e-5)


def test_the_mean_is_over_the_attentions_that_have_the_query() -> None:
    found = shares_of(model({"name": "mult", "depth": 1}), WHOLE)
    layers = found["layers"]
    assert list(layers) == [
        "crossmodal.image.note.0.attention",
        "joined.image.0.attention",
        "crossmodal.note.image.0.attention",
        "joined.note.0.attention",
    ]
    # The crossmodal attention looks at the note alone, the joined one at the image alone.
    at_note = layers["crossmodal.image.note.0.attention"]["shares"][0][0]
    at_image = layers["joined.image.0.attention"]["shares"][0][0]
    image_row = found["mean"]["shares"][found["mean"]["queries"].index("image")]
    assert image_row == pytest.approx([at_image / 2, at_note / 2, 1 - (at_image + at_note) / 2])


def test_a_column_that_no_row_has_gets_no_attention_and_has_no_row_of_its_own() -> None:
    found = shares_of(model("bottleneck"), Rows([0, 1], [2, 3], notes=False))["mean"]
    shares = dict(zip(found["queries"], found["shares"], strict=True))
    assert shares["note"] == [None] * len(found["keys"])
    place = found["keys"].index("note")
    assert shares["image"][place] == 0
    assert shares["bottleneck"][place] == 0


def test_a_model_without_attention_in_its_fusion_has_none() -> None:
    assert attention_shares(model("concat"), WHOLE) is None
    spec = ModelSpec.model_validate({"encoders": {"image": {"name": "tiny_cnn"}}, "fusion": "single_stream"})
    assert attention_shares(build_model(spec, {"image": IMAGE}, {"digit": 3}, 0), WHOLE) is None


def test_the_mode_of_the_model_is_left_as_it_was() -> None:
    network = model("perceiver").train()
    attention_shares(network, WHOLE)
    assert all(part.training for part in network.modules())
