"""Sum, mean, maximum and weighted sum of projected columns: the formulas, and what an absent column means."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mmdistill.recipe.schema import Component
from tests.models.fusions.pooled_rows import DIMS, built, fused, vectors

POOLED = ("sum", "mean", "max", "weighted_sum")
SUBSETS = (["image"], ["sound", "type"], ["image", "type"], ["image", "sound", "type"])


def projected(fusion: Any, embeddings: dict[str, Tensor], there: list[str]) -> Tensor:
    """(columns, rows, dim): what a linear layer makes of each present column, by hand."""
    layers = fusion.project.layers
    return torch.stack([embeddings[column] @ layers[column].weight.T + layers[column].bias for column in there])


@pytest.mark.parametrize("there", SUBSETS, ids="+".join)
def test_each_is_its_formula_over_the_columns_that_are_there(there: list[str]) -> None:
    embeddings = vectors()
    for name, by_hand in (
        ("sum", lambda values: values.sum(0)),
        ("mean", lambda values: values.mean(0)),
        ("max", lambda values: values.max(0).values),
    ):
        fusion = built(name, dim=7)
        expected = by_hand(projected(fusion, embeddings, there))
        torch.testing.assert_close(fused(fusion, embeddings, there), expected)


@pytest.mark.parametrize("there", SUBSETS, ids="+".join)
def test_weights_are_shared_out_among_the_columns_that_are_there(there: list[str]) -> None:
    fusion, embeddings = built("weighted_sum", dim=7), vectors()
    weights = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    with torch.no_grad():
        fusion.weights.copy_(weights)
    shares = weights[[list(DIMS).index(column) for column in there]].softmax(0)
    expected = (shares.reshape(-1, 1, 1) * projected(fusion, embeddings, there)).sum(0)
    torch.testing.assert_close(fused(fusion, embeddings, there), expected)


def test_a_weighted_sum_begins_as_the_mean() -> None:
    mean, weighted, embeddings = built("mean"), built("weighted_sum"), vectors()
    for there in SUBSETS:
        torch.testing.assert_close(fused(weighted, embeddings, there), fused(mean, embeddings, there))


def test_a_column_that_is_never_there_keeps_its_weight() -> None:
    fusion, embeddings = built("weighted_sum"), vectors()
    fused(fusion, embeddings, ["image", "sound"]).square().sum().backward()
    assert fusion.weights.grad[:2].ne(0).all()
    assert fusion.weights.grad[2] == 0


@pytest.mark.parametrize("name", POOLED)
def test_a_row_with_nothing_gives_zeros(name: str) -> None:
    assert (fused(built(name), vectors(), []) == 0).all()


def test_only_the_winner_of_a_feature_learns() -> None:
    fusion, embeddings = built("max", dim=1), vectors(rows=1)
    values = projected(fusion, embeddings, list(DIMS)).flatten()
    fused(fusion, embeddings).sum().backward()
    learns = [float(fusion.project.layers[column].bias.grad) for column in DIMS]
    assert learns == [float(index == values.argmax()) for index in range(3)]


@pytest.mark.parametrize("name", POOLED)
@pytest.mark.parametrize("options", [{"dim": 0}, {"dim": 2.5}, {"hidden": [3]}])
def test_bad_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Component(name=name, **options).options("fusion")
