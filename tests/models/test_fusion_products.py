"""Fusions by products: the published formulas, what an absent column means, and numbers near zero."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from mmdistill.errors import InputError
from mmdistill.models.fusion.families.products import LowRankTensorOptions
from mmdistill.models.fusion.low_rank_tensor import LowRankTensor
from mmdistill.models.fusion.mfb import TINY, power_and_length
from mmdistill.models.fusion.present_product import present_product
from mmdistill.models.fusion.projections import Projections
from mmdistill.models.fusion.tensor import outer_product
from mmdistill.recipe.schema import Component
from tests.models.fusions.pooled_rows import DIMS, built, fused, vectors

GOLDEN = Path(os.environ.get("MMDISTILL_DATA", "nowhere")).parent / "golden"
COLUMNS = list(DIMS)
SUBSETS = (["image"], ["sound", "type"], ["image", "sound", "type"])
over_subsets = pytest.mark.parametrize("there", SUBSETS, ids="+".join)


def linear(layers: Any, column: str, vector: Tensor) -> Tensor:
    return vector @ layers[column].weight.T + layers[column].bias


def test_an_absent_column_counts_as_one_in_a_product() -> None:
    factors = [torch.tensor([[2.0, 3.0], [float("nan"), 5.0]]), torch.tensor([[4.0, 5.0], [6.0, 7.0]])]
    present = {"a": torch.tensor([True, False]), "b": torch.tensor([True, True])}
    assert torch.equal(present_product(factors, present, ["a", "b"]), torch.tensor([[8.0, 15.0], [6.0, 7.0]]))


# product and mlb


@over_subsets
@pytest.mark.parametrize("residual", [True, False])
def test_product_multiplies_the_projected_columns_and_adds_their_sum(there: list[str], residual: bool) -> None:
    fusion, embeddings = built("product", dim=7, residual=residual), vectors()
    factors = torch.stack([linear(fusion.project.layers, column, embeddings[column]) for column in there])
    expected = factors.prod(0) + (factors.sum(0) if residual else 0)
    torch.testing.assert_close(fused(fusion, embeddings, there), expected)


@over_subsets
@pytest.mark.parametrize("activation", ["tanh", "none"])
def test_mlb_is_the_papers_formula(there: list[str], activation: str) -> None:
    """Kim et al., 2017: P (σ(U x + b_x) ∘ σ(V y + b_y)) + b."""
    fusion, embeddings = built("mlb", dim=7, rank=9, activation=activation), vectors()
    expected = torch.ones(5, 9, dtype=torch.float64)
    for column in there:
        factor = linear(fusion.project.layers, column, embeddings[column])
        expected = expected * (factor.tanh() if activation == "tanh" else factor)
    expected = expected @ fusion.out.weight.T + fusion.out.bias
    torch.testing.assert_close(fused(fusion, embeddings, there), expected)


def test_mlb_without_tanh_is_bilinear_in_two_columns() -> None:
    dims = {"image": 6, "sound": 8}
    fusion, embeddings = built("mlb", dims, dim=3, rank=4, activation="none"), vectors(dims)
    for column in dims:
        nn.init.zeros_(fusion.project.layers[column].bias)
    image, sound = (fusion.project.layers[column].weight for column in dims)
    tensor = torch.einsum("or,ri,rj->oij", fusion.out.weight, image, sound)
    expected = torch.einsum("bi,oij,bj->bo", embeddings["image"], tensor, embeddings["sound"]) + fusion.out.bias
    torch.testing.assert_close(fused(fusion, embeddings), expected)


# mfb


@over_subsets
def test_mfb_adds_products_for_each_feature(there: list[str]) -> None:
    """Yu et al., 2017, equation 4: sums over windows of k products that do not overlap."""
    fusion, embeddings = built("mfb", dim=7, factors=3, normalise=False), vectors()
    product = torch.ones(5, 21, dtype=torch.float64)
    for column in there:
        product = product * linear(fusion.project.layers, column, embeddings[column])
    expected = torch.stack([product[:, 3 * index : 3 * index + 3].sum(1) for index in range(7)], dim=1)
    torch.testing.assert_close(fused(fusion, embeddings, there), expected)


def test_mfb_normalises_as_the_paper_where_values_are_not_tiny() -> None:
    plain, normal, embeddings = built("mfb", normalise=False), built("mfb"), vectors()
    sums = fused(plain, embeddings)
    expected = functional.normalize(sums.sign() * sums.abs().sqrt(), dim=1)
    torch.testing.assert_close(fused(normal, embeddings), expected, rtol=1e-2, atol=1e-3)
    assert fused(normal, embeddings).norm(dim=1).allclose(torch.ones(5, dtype=torch.float64), atol=1e-4)


def test_the_signed_root_is_exact_in_the_limit() -> None:
    values = torch.tensor([[4.0, -9.0, 0.25, 0.0]], dtype=torch.float64)
    expected = functional.normalize(torch.tensor([[2.0, -3.0, 0.5, 0.0]], dtype=torch.float64), dim=1)
    torch.testing.assert_close(power_and_length(values, 1e-12), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_signed_root_has_a_finite_slope_at_zero(dtype: torch.dtype) -> None:
    """The paper's own has none: a sum of zero gives NaN gradients."""
    values = torch.zeros(2, 3, dtype=dtype, requires_grad=True)
    roots = power_and_length(values)
    roots.float().sum().backward()
    assert values.grad is not None
    assert (roots == 0).all()
    assert values.grad.isfinite().all()
    assert (values.grad.float() <= 1.01 / TINY).all()
    published = torch.zeros(2, 3, requires_grad=True)
    functional.normalize(published.sign() * published.abs().sqrt(), dim=1).sum().backward()
    assert published.grad is not None
    assert not published.grad.isfinite().all()


@pytest.mark.parametrize("size", [1e-30, 1e-8, 1.0, 6e4])
def test_the_signed_root_of_half_precision_neither_vanishes_nor_overflows(size: float) -> None:
    values = torch.tensor([[1.0, -1.0, 1.0, 1.0]]).mul(size).to(torch.float16)
    roots = power_and_length(values)
    assert roots.isfinite().all()
    assert (roots.sign() == values.sign()).all()
    if size >= 1:
        torch.testing.assert_close(roots, values.sign() / 2)


def test_the_signed_root_has_the_right_gradient() -> None:
    values = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(power_and_length, values)


def test_mfb_drops_products_while_training_only() -> None:
    fusion, embeddings = built("mfb", dropout=0.5), vectors()
    torch.manual_seed(0)
    assert not torch.equal(fused(fusion, embeddings), fused(fusion, embeddings))
    torch.testing.assert_close(fused(fusion.eval(), embeddings), fused(built("mfb"), embeddings))


# mutan


@over_subsets
def test_mutan_is_a_sum_of_products_of_small_projections(there: list[str]) -> None:
    """Ben-younes et al., 2017, section 3.2: z = Σ_r (q M_r) ∗ (v N_r)."""
    fusion, embeddings = built("mutan", dim=7, width=4, rank=3), vectors()
    expected = torch.zeros(5, 7, dtype=torch.float64)
    for rank in range(3):
        product = torch.ones(5, 7, dtype=torch.float64)
        for column in there:
            narrow = linear(fusion.project.layers, column, embeddings[column]).tanh()
            product = product * (narrow @ fusion.factors[column].weight[7 * rank : 7 * rank + 7].T)
        expected = expected + product
    torch.testing.assert_close(fused(fusion, embeddings, there), expected)


def test_mutan_is_a_tucker_decomposition_whose_slices_have_the_given_rank() -> None:
    dims = {"image": 6, "sound": 8}
    fusion, embeddings = built("mutan", dims, dim=7, width=5, rank=2), vectors(dims)
    left, right = (fusion.factors[column].weight.unflatten(0, (2, 7)) for column in dims)
    core = torch.einsum("roi,roj->oij", left, right)
    assert (torch.linalg.matrix_rank(core) == 2).all()
    image, sound = (linear(fusion.project.layers, column, embeddings[column]).tanh() for column in dims)
    torch.testing.assert_close(fused(fusion, embeddings), torch.einsum("bi,oij,bj->bo", image, core, sound))


# tensor


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_tensor_is_the_outer_product_with_a_one_in_front(activation: str) -> None:
    fusion, embeddings = built("tensor", width=3, hidden=[], activation=activation), vectors()
    squash = torch.tanh if activation == "tanh" else torch.relu
    ones = torch.ones(5, 1, dtype=torch.float64)
    image, sound, kind = (
        torch.cat([ones, squash(linear(fusion.narrow.layers, column, embeddings[column]))], dim=1) for column in DIMS
    )
    expected = torch.einsum("bi,bj,bk->bijk", image, sound, kind).flatten(1)
    torch.testing.assert_close(fused(fusion, embeddings), expected)


def test_the_tensor_of_fewer_columns_is_a_part_of_the_tensor() -> None:
    fusion, embeddings = built("tensor", width=3, hidden=[]), vectors()
    whole, part = (fused(fusion, embeddings, there).reshape(5, 4, 4, 4) for there in (COLUMNS, ["image", "type"]))
    torch.testing.assert_close(part[:, :, 0], whole[:, :, 0])
    assert (part[:, :, 1:] == 0).all()
    nothing = fused(fusion, embeddings, [])
    assert torch.equal(nothing, functional.one_hot(torch.zeros(5, dtype=torch.long), 64).double())


def test_outer_product_of_single_numbers() -> None:
    two, three = torch.tensor([[2.0]]), torch.tensor([[3.0]])
    assert outer_product([two, three]).tolist() == [[1.0, 3.0, 2.0, 6.0]]


@pytest.mark.parametrize(("columns", "width"), [(2, 32), (3, 15), (4, 7), (5, 4), (6, 3), (12, 1), (16, 1)])
def test_the_default_width_keeps_the_tensor_small(columns: int, width: int) -> None:
    fusion = built("tensor", {f"column {index}": 5 for index in range(columns)}, hidden=[])
    assert fusion.dim == (width + 1) ** columns


@pytest.mark.parametrize(
    ("columns", "options", "number"),
    [(5, {"width": 16}, "1,419,857"), (3, {"width": 64}, "274,625"), (17, {}, "131,072")],
)
def test_a_tensor_that_is_too_large_is_refused_with_its_size(
    columns: int, options: dict[str, Any], number: str
) -> None:
    with pytest.raises(InputError, match=rf"fusion\.width: .*{number} entries") as caught:
        built("tensor", {f"column {index}": 5 for index in range(columns)}, **options)
    assert "low_rank_tensor" in caught.value.fix
    assert ("Lower `width` to" in caught.value.fix) == bool(options)


def test_the_largest_width_that_the_refusal_names_is_taken() -> None:
    with pytest.raises(InputError, match="Lower `width` to 45 or less"):
        built("tensor", width=46, hidden=[])
    assert built("tensor", width=45, hidden=[]).dim == 46**3


# low_rank_tensor


@over_subsets
def test_low_rank_tensor_is_a_tensor_fusion_with_a_weight_tensor_of_low_rank(there: list[str]) -> None:
    fusion, embeddings = built("low_rank_tensor", dim=7, rank=3), vectors()
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter.add_(torch.linspace(-0.3, 0.2, parameter.numel()).reshape(parameter.shape))
    factors = [
        torch.cat([layer.bias.unsqueeze(1), layer.weight], dim=1).unflatten(0, (3, 7))
        for _, layer in fusion.factors.layers.items()
    ]
    weight = torch.einsum("r,roi,roj,rok->oijk", fusion.weights, *factors).flatten(1)
    parts = [embeddings[column] if column in there else torch.zeros_like(embeddings[column]) for column in DIMS]
    torch.testing.assert_close(fused(fusion, embeddings, there), outer_product(parts) @ weight.T + fusion.bias)


def test_low_rank_tensor_begins_with_absent_columns_neutral() -> None:
    fusion, embeddings = built("low_rank_tensor", dim=7), vectors()
    torch.testing.assert_close(fused(fusion, embeddings, []), torch.zeros(5, 7, dtype=torch.float64))
    alone = built("low_rank_tensor", {"image": 6, "other": 2}, dim=7)
    alone.factors.layers["image"].weight.data = fusion.factors.layers["image"].weight.data
    others = {"image": embeddings["image"], "other": torch.zeros(5, 2, dtype=torch.float64)}
    torch.testing.assert_close(fused(fusion, embeddings, ["image"]), fused(alone, others, ["image"]))


@pytest.mark.skipif(not GOLDEN.is_dir(), reason="the folder golden/ beside MMDISTILL_DATA is not there")
def test_low_rank_tensor_with_the_authors_weights_gives_their_numbers() -> None:
    with np.load(GOLDEN / "lmf__fusion__s1d.npz", allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]).double() for name in file}
    columns = ("audio", "video", "text")
    dims = {column: arrays[column].shape[1] for column in columns}
    rank, _, dim = arrays["param.audio_factor"].shape
    fusion = LowRankTensor(dims, LowRankTensorOptions(dim=dim, rank=rank)).double()
    with torch.no_grad():
        for column in columns:
            factor, layer = arrays[f"param.{column}_factor"], fusion.factors.layers[column]
            layer.bias.copy_(factor[:, 0].flatten())
            layer.weight.copy_(factor[:, 1:].transpose(1, 2).flatten(0, 1))
        fusion.weights.copy_(arrays["param.fusion_weights"][0])
        fusion.bias.copy_(arrays["param.fusion_bias"][0])
    embeddings = {column: arrays[column].requires_grad_() for column in columns}
    output = fused(fusion, embeddings)
    loss = (output * arrays["probe"]).sum()
    loss.backward()
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=1e-7)
    # Recorded in float32.
    torch.testing.assert_close(output, arrays["output"], rtol=1e-6, atol=1e-6)
    gradients = {f"grad_{column}": embeddings[column].grad for column in columns}
    for column in columns:
        layer = fusion.factors.layers[column]
        rows = torch.cat([layer.bias.grad.unsqueeze(1), layer.weight.grad], dim=1).unflatten(0, (rank, dim))
        gradients[f"grad_param.{column}_factor"] = rows.transpose(1, 2)
    gradients["grad_param.fusion_weights"] = fusion.weights.grad.unsqueeze(0)
    gradients["grad_param.fusion_bias"] = fusion.bias.grad.unsqueeze(0)
    assert set(gradients) == {name for name in arrays if name.startswith("grad_")}
    for name, gradient in gradients.items():
        largest = arrays[name].abs().max().item()
        torch.testing.assert_close(gradient, arrays[name], rtol=0, atol=1e-5 * largest, msg=name)


# film


@pytest.mark.parametrize("by", [None, "sound"])
def test_film_scales_and_shifts_the_others(by: str | None) -> None:
    fusion, embeddings = built("film", dim=7, by=by), vectors()
    by = by or "image"
    scale, shift = fusion.scale(embeddings[by]), fusion.shift(embeddings[by])
    others = [column for column in DIMS if column != by]
    features = [linear(fusion.project.layers, column, embeddings[column]) for column in others]
    scaled = [(1 + scale[:, 7 * index : 7 * index + 7]) * feature for index, feature in enumerate(features)]
    torch.testing.assert_close(fused(fusion, embeddings), (scaled[0] + scaled[1]) / 2 + shift)
    torch.testing.assert_close(fused(fusion, embeddings, [by, others[1]]), scaled[1] + shift)


def test_film_without_the_condition_passes_the_others_and_with_it_alone_gives_its_shift() -> None:
    fusion, embeddings = built("film", dim=7, by="sound"), vectors()
    plain = linear(fusion.project.layers, "type", embeddings["type"])
    torch.testing.assert_close(fused(fusion, embeddings, ["type"]), plain)
    torch.testing.assert_close(fused(fusion, embeddings, ["sound"]), fusion.shift(embeddings["sound"]))
    assert (fused(fusion, embeddings, []) == 0).all()


def test_film_by_a_column_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"fusion\.by: .*'sond'.*Did you mean 'sound'"):
        built("film", by="sond")


# Many columns, and options


@pytest.mark.parametrize(("gain", "size"), [(None, 3**-0.5), (1.0, 1.0), (5 / 3, 5 / 3)])
def test_factors_begin_with_the_size_that_is_asked_for(gain: float | None, size: float) -> None:
    """PyTorch's own start gives a third of the variance, and a product of small factors moves no encoder for long."""
    torch.manual_seed(0)
    projections = Projections({"image": 300, "sound": 200}, 400, gain)
    everything = torch.ones(200, dtype=torch.bool)
    embeddings = {"image": torch.randn(200, 300), "sound": torch.randn(200, 200)}
    for factor in projections(embeddings, {"image": everything, "sound": everything}):
        assert factor.std().item() == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize("name", ["product", "mlb", "mfb", "mutan", "tensor", "low_rank_tensor", "film"])
def test_five_columns_begin_neither_near_zero_nor_large(name: str) -> None:
    """What a row says must be visible in its result and reach its encoders: products of many could vanish."""
    dims = {f"column {index}": 64 for index in range(5)}
    fusion, embeddings = built(name, dims), vectors(dims, rows=200)
    embeddings = {column: vector.requires_grad_() for column, vector in embeddings.items()}
    result = fused(fusion, embeddings)
    result.sum(1).mean().backward()
    spread = result.std(0).mean().item() * (fusion.dim**0.5 if name == "mfb" else 1)
    assert 0.01 < spread < 10
    assert all(vector.grad is not None and vector.grad.norm() > 1e-4 for vector in embeddings.values())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("product", {"dim": 0}),
        ("product", {"residual": "often"}),
        ("mlb", {"rank": 0}),
        ("mlb", {"activation": "sigmoid"}),
        ("mfb", {"factors": 0}),
        ("mfb", {"dropout": 1.0}),
        ("mutan", {"width": 0}),
        ("mutan", {"rank": -1}),
        ("tensor", {"width": 0}),
        ("tensor", {"hidden": [0]}),
        ("tensor", {"dim": 3}),
        ("low_rank_tensor", {"rank": 0}),
        ("film", {"by": 3}),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Component(name=name, **options).options("fusion")
