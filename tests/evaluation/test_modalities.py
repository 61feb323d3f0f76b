"""Subsets of a model's modalities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mmdistill.errors import InputError
from mmdistill.evaluation.modalities import by_subset, subsets, worst_subset
from mmdistill.tasks.classification import ClassificationTask


def test_all_subsets_of_three_columns_the_full_set_first() -> None:
    assert list(subsets(["image", "sound", "text"])) == [
        "image+sound+text", "image+sound", "image+text", "sound+text", "image", "sound", "text",
    ]  # fmt: skip
    assert subsets(["image", "sound"])["image+sound"] == ("image", "sound")


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5])
def test_up_to_five_columns_there_are_all_of_them(columns: int) -> None:
    assert len(subsets([f"c{index}" for index in range(columns)])) == 2**columns - 1


def test_with_more_there_are_the_full_set_all_but_one_and_each_alone() -> None:
    found = subsets([f"c{index}" for index in range(7)])
    assert len(found) == 1 + 7 + 7
    assert sorted({len(columns) for columns in found.values()}) == [1, 6, 7]


def test_names_that_would_be_confused_are_refused() -> None:
    with pytest.raises(InputError, match="same name"):
        subsets(["a", "b", "a+b"])
    with pytest.raises(InputError, match="no subsets"):
        subsets([])


def test_metrics_of_every_subset_and_the_worst() -> None:
    task, targets = ClassificationTask(), np.array([0, 1, 0, 1])
    state = {"classes": ["a", "b"], "counts": [2, 2]}
    right, half = np.eye(2)[targets], np.eye(2)[[0, 1, 1, 0]]
    scores = by_subset(task, {"image+sound": right, "image": half, "sound": right}, targets, state)
    assert scores["image"]["accuracy"] == 0.5
    assert worst_subset(scores, "accuracy", True) == "image"
    assert worst_subset(scores, "log_loss", False) == "image"


def test_a_subset_without_the_metric_is_not_the_worst() -> None:
    assert worst_subset({"a": {"auroc": None}, "b": {"auroc": 0.9}}, "auroc", True) == "b"
    assert worst_subset({"a": {"auroc": None}}, "auroc", True) is None


def test_outputs_are_collected_with_the_other_columns_hidden() -> None:
    from mmdistill.data.features import ArraySpec, FeatureInfo
    from mmdistill.evaluation.modalities import collect_by_subset
    from mmdistill.models.multimodal import MultimodalModel
    from mmdistill.recipe.schema import Component, ModelSpec

    rng = torch.Generator().manual_seed(0)
    columns = ("first", "second")
    infos = {
        name: FeatureInfo(
            name=name, column=name, type="vector", settings={}, state={}, arrays={"values": ArraySpec((3,), "float32")}
        )
        for name in columns
    }
    torch.manual_seed(0)
    spec = ModelSpec(encoders={name: Component(name="mlp") for name in columns})
    model = MultimodalModel(infos, spec, {"digit": 4})

    class Rows:
        def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
            from tensordict import TensorDict

            values = {name: {"values": torch.randn(5, 3, generator=rng)} for name in columns}
            present = {name: torch.ones(5, dtype=torch.bool) for name in columns}
            yield TensorDict({"features": values, "present": present, "row": torch.arange(5)}, batch_size=[5])

    rng_state = rng.get_state()
    found = collect_by_subset(model, Rows(), ["logits"])
    assert list(found) == ["first+second", "first", "second"]
    assert {outputs["logits"].shape for outputs in found.values()} == {(5, 4)}
    rng.set_state(rng_state)
    assert not torch.equal(found["first"]["logits"], found["second"]["logits"])
