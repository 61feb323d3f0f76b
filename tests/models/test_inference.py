"""A model applied to all rows of a loader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from mmdistill.errors import InputError
from mmdistill.models.inference import collect
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import ModelSpec
from tests.models.features import arrays, image, text

IMAGE, NOTE = image(size=8), text("note")


class Rows:
    """A loader of seven rows, some without a note, in batches of the given rows."""

    def __init__(self, *batches: list[int]) -> None:
        self.groups = batches
        self.lengths = [4, 9, 2, 7, 1, 3, 5]
        self.notes = torch.tensor([1, 1, 0, 1, 1, 0, 1], dtype=torch.bool)

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        assert epoch == 0
        pictures = arrays(IMAGE, self.lengths)["values"]
        words = arrays(NOTE, self.lengths)["values"]
        for rows in self.groups[start:]:
            longest = max(self.lengths[row] for row in rows)
            mask = torch.arange(longest) < torch.tensor([[self.lengths[row]] for row in rows])
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


def model(**spec: Any) -> MultimodalModel:
    encoders = {"image": {"name": "tiny_cnn", "width": 8}, "note": {"name": "bilstm", "hidden": 8, "dropout": 0.5}}
    document = {"encoders": encoders, "head_dropout": 0.5, **spec}
    return build_model(ModelSpec.model_validate(document), {"image": IMAGE, "note": NOTE}, {"digit": 3}, 0)


WHOLE = Rows([0, 1, 2, 3, 4, 5, 6])


def test_rows_come_in_ascending_order_whatever_the_batches() -> None:
    network = model()
    whole = collect(network, WHOLE, ["logits", "image"])
    parts = collect(network, Rows([5, 0], [3], [6, 1, 2], [4]), ["logits", "image"])
    for tap, values in whole.items():
        assert values.shape[0] == 7
        torch.testing.assert_close(parts[tap], values)


def test_sequences_of_different_batches_are_padded_with_their_masks() -> None:
    network = model()
    whole = collect(network, WHOLE, ["note.tokens", "note.tokens.mask"])
    parts = collect(network, Rows([0, 2], [3, 1], [4, 5, 6]), ["note.tokens", "note.tokens.mask"])
    assert parts["note.tokens"].shape == (7, 9, 16)
    assert torch.equal(parts["note.tokens.mask"], whole["note.tokens.mask"])
    shown = whole["note.tokens.mask"]
    torch.testing.assert_close(parts["note.tokens"][shown], whole["note.tokens"][shown])


def test_the_model_is_in_eval_mode_meanwhile_and_put_back_module_by_module() -> None:
    network = model().train()
    network.encoders["image"].eval()
    modes = [module.training for module in network.modules()]
    first, second = collect(network, WHOLE, ["logits"]), collect(network, WHOLE, ["logits"])
    assert torch.equal(first["logits"], second["logits"])
    assert [module.training for module in network.modules()] == modes
    with pytest.raises(InputError):
        collect(network, WHOLE, ["no such tap"])
    assert [module.training for module in network.modules()] == modes


@pytest.mark.parametrize("fusion", ["concat", "cross_attention"])
def test_a_subset_hides_the_other_columns(fusion: str) -> None:
    network = model(fusion=fusion)
    for subset in (["image"], ["note"], [], ["image", "note"]):
        got = collect(network, WHOLE, ["logits", "fused"], subset=subset)
        batch = next(WHOLE.batches(0))
        present = {column: rows & (column in subset) for column, rows in batch["present"].items()}
        with torch.no_grad():
            expected = network.eval()(batch["features"], present)
        torch.testing.assert_close(got["logits"], expected["logits"])
        torch.testing.assert_close(got["fused"], expected["fused"])


def test_encoders_of_hidden_columns_are_not_run_unless_a_tap_of_theirs_is_wanted() -> None:
    network = model()
    calls: list[str] = []
    for column, encoder in network.encoders.items():
        encoder.register_forward_hook(lambda *_, column=column: calls.append(column))
    collect(network, WHOLE, ["logits"], subset=["image"])
    assert calls == ["image"]
    maps = collect(network, WHOLE, ["image.maps"], subset=["note"])["image.maps"]
    assert maps.shape == (7, 32, 1, 1)


def test_what_is_collected_can_take_part_in_training() -> None:
    collected: Tensor = collect(model(), WHOLE, ["fused"])["fused"]
    weight = torch.ones(collected.shape[1], requires_grad=True)
    (collected @ weight).sum().backward()
    torch.testing.assert_close(weight.grad, collected.sum(0))
    assert not collected.requires_grad


def test_errors_name_what_is_known() -> None:
    with pytest.raises(InputError, match=r"no output 'logit'. Did you mean 'logits'"):
        collect(model(), WHOLE, ["logit"])
    with pytest.raises(InputError, match=r"does not read the column 'notes'. Did you mean 'note'"):
        collect(model(), WHOLE, ["logits"], subset=["notes"])
    with pytest.raises(InputError, match="no rows"):
        collect(model(), Rows(), ["logits"])
