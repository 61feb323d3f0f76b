"""Late fusions and the mixture of experts: their formulas, and what is particular to each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from mmdistill.models.fusion.build import build_fusion
from mmdistill.models.fusion.mixture_of_experts import importance_loss, largest, switch_loss
from mmdistill.recipe.schema import Component

DIMS = {"image": 6, "sound": 8, "note": 4}
ROWS = 10


def build(name: str, **options: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_fusion(Component(name=name, **options), DIMS).double()


def embeddings(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        column: torch.randn(ROWS, width, generator=generator, dtype=torch.float64) for column, width in DIMS.items()
    }


def everything() -> dict[str, Tensor]:
    return {column: torch.ones(ROWS, dtype=torch.bool) for column in DIMS}


def into(fusion: nn.Module, present: dict[str, Tensor] | None = None) -> Any:
    return fusion(embeddings(), {}, {}, present or everything())


def own_logits(head: nn.Linear) -> list[Tensor]:
    """What the part of a head that belongs to each column says of that column alone."""
    found, start = [], 0
    for column, width in DIMS.items():
        weight, bias = head.weight[:, start : start + width], head.weight[:, start + width]
        found.append(embeddings()[column] @ weight.T + bias)
        start += width + 1
    return found


def test_weighted_late_fusion_is_a_weighted_mean_of_one_linear_head_a_column() -> None:
    fusion = build("late_weighted")
    nn.init.normal_(fusion.trust)
    head = nn.Linear(fusion.dim, 4, dtype=torch.float64)
    weights = fusion.trust.softmax(0)
    expected = sum(weight * own for weight, own in zip(weights, own_logits(head), strict=True))
    torch.testing.assert_close(head(into(fusion).embedding), expected + head.bias)


def test_the_weights_of_late_fusion_are_shared_out_among_the_present_columns() -> None:
    fusion = build("late_weighted")
    nn.init.normal_(fusion.trust)
    head = nn.Linear(fusion.dim, 4, dtype=torch.float64)
    present = everything() | {"sound": torch.zeros(ROWS, dtype=torch.bool)}
    image, _, note = own_logits(head)
    weights = fusion.trust[[0, 2]].softmax(0)
    expected = weights[0] * image + weights[1] * note + head.bias
    torch.testing.assert_close(head(into(fusion, present).embedding), expected)


def test_weighted_late_fusion_starts_as_late_fusion() -> None:
    assert torch.allclose(into(build("late_weighted")).embedding, into(build("late")).embedding)


def test_stacking_sees_the_columns_only_through_their_scores() -> None:
    fusion = build("late_stacked", scores=2, layers=[8])
    fused = into(fusion)
    scores = [fusion.scores[column](embeddings()[column]) for column in DIMS]
    for column, own in zip(DIMS, scores, strict=True):
        assert torch.equal(fused.taps[f"{column}.scores"], own)
    bits = torch.ones(ROWS, 3, dtype=torch.float64)
    torch.testing.assert_close(fused.embedding, fusion.layers(torch.cat([*scores, bits], dim=1)))


def test_stacking_tells_an_absent_column_from_one_whose_scores_are_zero() -> None:
    fusion = build("late_stacked", scores=2, layers=[8])
    nn.init.zeros_(fusion.scores["sound"].weight)
    nn.init.zeros_(fusion.scores["sound"].bias)
    absent = everything() | {"sound": torch.zeros(ROWS, dtype=torch.bool)}
    assert not torch.allclose(into(fusion).embedding, into(fusion, absent).embedding)


def loop_over_experts(fusion: Any, row: int) -> Tensor:
    joined = torch.cat([*(vectors[row] for vectors in embeddings().values()), torch.ones(3, dtype=torch.float64)])
    scores = fusion.gate(joined)
    chosen = scores.argsort(descending=True)[: fusion.top]
    shares = scores[chosen].softmax(0)
    result = torch.zeros(fusion.dim, dtype=torch.float64)
    for expert, share in zip(chosen.tolist(), shares, strict=True):
        hidden = (joined @ fusion.hidden.weight[expert] + fusion.hidden.bias[expert, 0]).relu()
        result += share * (hidden @ fusion.out.weight[expert] + fusion.out.bias[expert, 0])
    return result


@pytest.mark.parametrize("top", [1, 2, None])
def test_a_mixture_is_the_gated_sum_of_the_chosen_experts(top: int | None) -> None:
    fusion = build("mixture_of_experts", experts=4, hidden=5, dim=7, top=top).eval()
    fused = into(fusion)
    for row in range(ROWS):
        torch.testing.assert_close(fused.embedding[row], loop_over_experts(fusion, row))
    assert ((fused.taps["gates"] > 0).sum(1) == (top or 4)).all()
    torch.testing.assert_close(fused.taps["gates"].sum(1), torch.ones(ROWS, dtype=torch.float64))


def test_the_gate_knows_which_columns_a_row_has() -> None:
    fusion = build("mixture_of_experts", experts=4, hidden=5, dim=7, top=None).eval()
    nn.init.zeros_(fusion.gate.weight[:, : sum(DIMS.values())])
    absent = everything() | {"sound": torch.zeros(ROWS, dtype=torch.bool)}
    assert not torch.allclose(into(fusion).taps["gates"], into(fusion, absent).taps["gates"])


def test_noise_is_drawn_in_training_only() -> None:
    fusion = build("mixture_of_experts", experts=4, top=None, noise=True)
    assert not torch.equal(into(fusion).taps["gates"], into(fusion).taps["gates"])
    fusion.eval()
    assert torch.equal(into(fusion).taps["gates"], into(fusion).taps["gates"])


def test_the_switch_loss_is_one_for_an_even_load_and_the_number_of_experts_for_a_single_one() -> None:
    counted = torch.ones(8, dtype=torch.bool)
    even = torch.eye(4).repeat(2, 1) * 50
    assert switch_loss(even, largest(even, 1), counted).item() == pytest.approx(1)
    single = torch.tensor([50.0, 0, 0, 0]).repeat(8, 1)
    assert switch_loss(single, largest(single, 1), counted).item() == pytest.approx(4)
    assert switch_loss(torch.zeros(8, 4), largest(even + even.roll(1, 1), 2), counted).item() == pytest.approx(1)


def test_the_importance_loss_is_the_squared_coefficient_of_variation() -> None:
    gates = torch.rand(8, 4, generator=torch.Generator().manual_seed(0)).softmax(1)
    total = gates.sum(0)
    expected = (total.var(unbiased=False) / total.mean() ** 2).item()
    assert importance_loss(gates, torch.ones(8, dtype=torch.bool)).item() == pytest.approx(expected)
    single = torch.tensor([1.0, 0, 0, 0]).repeat(8, 1)
    assert importance_loss(single, torch.ones(8, dtype=torch.bool)).item() == pytest.approx(3)


@pytest.mark.parametrize("balance", ["switch", "importance"])
def test_rows_with_nothing_do_not_count_in_the_load(balance: str) -> None:
    fusion = build("mixture_of_experts", experts=4, balance=balance)
    some = {column: torch.arange(ROWS) < 6 for column in DIMS}
    first = {column: values[:6] for column, values in embeddings().items()}
    alone = fusion(first, {}, {}, {column: torch.ones(6, dtype=torch.bool) for column in DIMS})
    torch.testing.assert_close(into(fusion, some).auxiliary, dict(alone.auxiliary))
    nothing = {column: torch.zeros(ROWS, dtype=torch.bool) for column in DIMS}
    assert into(fusion, nothing).auxiliary["load_balance"].item() == 0


def test_the_load_becomes_even_when_only_balance_is_trained() -> None:
    fusion = build("mixture_of_experts", experts=4, top=1, balance_weight=1.0)
    with torch.no_grad():
        fusion.gate.bias[0] += 2
    optimizer = torch.optim.Adam(fusion.gate.parameters(), lr=0.05)
    first = into(fusion).auxiliary["load_balance"].item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = into(fusion).auxiliary["load_balance"]
        loss.backward()
        optimizer.step()
    assert first > 1.5 > loss.item()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("late_weighted", {"hidden": 0}),
        ("late_stacked", {"scores": 0}),
        ("late_stacked", {"layers": []}),
        ("late_stacked", {"layers": [0]}),
        ("mixture_of_experts", {"experts": 1}),
        ("mixture_of_experts", {"experts": 3, "top": 4}),
        ("mixture_of_experts", {"top": 0}),
        ("mixture_of_experts", {"balance": "even"}),
        ("mixture_of_experts", {"balance_weight": -1}),
        ("mixture_of_experts", {"balance_weight": float("inf")}),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Component(name=name, **options).options("fusion")
