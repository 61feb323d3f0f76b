"""What every registered loss must hold. A loss joins by being registered; new kinds of input go to `loss_inputs`."""

from __future__ import annotations

import copy
import inspect
import io
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import catalog, losses
from mmdistill.errors import InputError
from mmdistill.losses import functional
from mmdistill.losses.entry import LossEntry
from tests.losses.loss_inputs import (
    ENTRIES,
    SETTINGS,
    Batch,
    at_equality,
    build,
    each,
    forward_parameters,
    kind_of,
    make_inputs,
    replace,
    setting_name,
    student_side,
    take,
    tensors,
)


def settings(condition: Any = lambda entry: True) -> Any:
    chosen = [pair for pair in SETTINGS if condition(pair[0])]
    return pytest.mark.parametrize(("entry", "options"), chosen, ids=setting_name)


each_setting = settings()
each_loss = pytest.mark.parametrize("entry", ENTRIES, ids=setting_name)
each_sequence_loss = settings(lambda entry: entry.sequences)
each_row_loss = settings(lambda entry: entry.by_row)
each_weighted_loss = settings(lambda entry: "weight" in entry.accepts)


def gradients(loss: Tensor, inputs: Batch) -> dict[str, Tensor]:
    named = student_side(inputs)
    return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))


# What an entry says about itself


def test_every_loss_is_registered_with_its_declarations() -> None:
    assert {"kd", "soft_cross_entropy", "mse_logits", "dkd"} <= {entry.name for entry in ENTRIES}
    assert len(ENTRIES) == len(catalog.entries("loss"))


@each_loss
def test_declared_inputs_are_those_of_forward(entry: LossEntry) -> None:
    parameters = forward_parameters(entry)
    needed = tuple(name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty)
    assert needed == entry.needs
    assert set(parameters) - set(needed) == set(entry.accepts)


@each_loss
def test_function_and_module_have_the_same_arguments_and_defaults(entry: LossEntry) -> None:
    function = getattr(functional, entry.name)
    assert getattr(losses, entry.load().__name__) is entry.load()
    if entry.learned:
        return  # the function takes what the module has learnt instead
    parameters = inspect.signature(function).parameters
    options = {
        name: parameter.default for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert [name for name in parameters if name not in options] == list(forward_parameters(entry))
    assert options == entry.options().model_dump()


@each_loss
def test_docstrings_tell_source_and_typical_weight(entry: LossEntry) -> None:
    function = getattr(functional, entry.name)
    module = inspect.getmodule(function)
    assert module is not None
    assert module.__doc__ is not None
    assert entry.paper.split(",")[0] in module.__doc__
    assert "Typical weight" in function.__doc__
    for told in (entry.summary, entry.equation, entry.typical_weight, entry.when, entry.cost):
        assert told
    assert all(field.description for field in entry.options.model_fields.values())


@settings(lambda entry: not entry.learned)
def test_module_gives_what_the_function_gives(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs = make_inputs(entry)
    torch.testing.assert_close(build(entry, options)(**inputs), getattr(functional, entry.name)(**inputs, **options))


# What the number means


@each_setting
def test_the_loss_is_a_scalar_of_the_inputs_precision(entry: LossEntry, options: dict[str, Any]) -> None:
    loss = build(entry, options)(**make_inputs(entry))
    assert loss.shape == ()
    assert loss.dtype is torch.float64


@each_setting
def test_student_gets_gradient_and_teacher_none(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs = make_inputs(entry)
    build(entry, options)(**inputs).backward()
    for name, value in tensors(inputs).items():
        if name.startswith("student_"):
            assert value.grad is not None
            assert value.grad.abs().max() > 0, name
        else:
            assert value.grad is None, name


@each_setting
def test_equality_is_as_declared(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs = at_equality(make_inputs(entry))
    loss = build(entry, options)(**inputs)
    if entry.equality == "zero":
        assert loss.item() == pytest.approx(0, abs=1e-12)
    if entry.equality in ("zero", "minimum"):
        for gradient in gradients(loss, inputs).values():
            assert gradient.abs().max() < 1e-12
    if entry.equality == "minimum":
        assert abs(loss.item()) > 0.01


def distance(entry: LossEntry, name: str, student: Tensor, teacher: Tensor) -> float:
    """How far a student's input is from the teacher's, but for what the loss does not see."""
    if kind_of(name) == "logits":
        if "scale" in entry.invariances:
            student, teacher = (F.layer_norm(value, value.shape[-1:]) for value in (student, teacher))
        return F.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="sum").item()
    if "scale" in entry.invariances:
        student, teacher = (F.normalize(value, dim=1) for value in (student, teacher))
    return F.mse_loss(student, teacher).item()


@settings(lambda entry: entry.pulls)
def test_following_the_gradient_brings_the_student_to_the_teacher(entry: LossEntry, options: dict[str, Any]) -> None:
    if 0.0 in options.values():
        pytest.skip("compares less than all of the outputs")
    inputs = make_inputs(entry, scale=1.0)
    named, teacher = student_side(inputs), tensors(inputs)
    optimizer, module = torch.optim.Adam(named.values(), lr=0.05), build(entry, options, inputs)

    @torch.no_grad()
    def away() -> float:
        pairs = [(name, value, teacher[name.replace("student_", "teacher_")]) for name, value in named.items()]
        return sum(distance(entry, *pair) for pair in pairs)

    distances = [away()]
    while len(distances) < 20 and distances[-1] >= 0.02 * distances[0]:
        for _ in range(20):
            optimizer.zero_grad()
            module(**inputs).backward()
            optimizer.step()
        distances.append(away())
    assert distances[1] < distances[0]
    assert distances[-1] < 0.02 * distances[0]


@each_setting
def test_a_small_step_makes_the_loss_smaller(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    before = copy.deepcopy(module)(**inputs)
    slopes = gradients(before, inputs)
    size = sum(slope.square().sum() for slope in slopes.values()).sqrt()
    moved = {name: value - 1e-4 * slopes[name] / size for name, value in student_side(inputs).items()}
    assert copy.deepcopy(module)(**replace(inputs, moved)) < before


@each_setting
def test_the_order_of_the_rows_does_not_matter(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    found, expected = copy.deepcopy(module)(**take(inputs, order)), copy.deepcopy(module)(**inputs)
    torch.testing.assert_close(found, expected)


CHANNEL_AXIS = dict.fromkeys(("logits", "tokens", "layers", "features", "image", "text", "embeddings"), -1)


def channel_axis(name: str) -> int:
    return CHANNEL_AXIS.get(kind_of(name), 1)


def permuted(value: Tensor, axis: int, seed: int) -> Tensor:
    return value.index_select(axis, torch.randperm(value.shape[axis], generator=torch.Generator().manual_seed(seed)))


def rotated(value: Tensor, axis: int, seed: int) -> Tensor:
    size, generator = value.shape[axis], torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=value.dtype))[0]
    return (value.movedim(axis, -1) @ rotation).movedim(-1, axis)


def changed(invariance: str, name: str, value: Tensor) -> Tensor:
    side = ("student_", "teacher_").index(name[:8])
    axis = channel_axis(name)
    if invariance == "shift":
        return value + torch.arange(1.0, len(value) + 1, dtype=value.dtype).view(-1, *[1] * (value.dim() - 1)) * (
            side + 1
        )
    if invariance == "scale":
        return value * (3.0 - side)
    if invariance == "rotation":
        return rotated(value, axis, side)
    return permuted(value, axis, side if invariance == "permutation" else 0)


@pytest.mark.parametrize(
    ("entry", "options", "invariance"),
    [(entry, options, invariance) for entry, options in SETTINGS for invariance in entry.invariances],
    ids=lambda value: value if isinstance(value, str) else setting_name(value),
)
def test_declared_invariances_hold(entry: LossEntry, options: dict[str, Any], invariance: str) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    both = {name: value for name, value in inputs.items() if name[:8] in ("student_", "teacher_")}
    moved = {
        name: each(value, lambda one, name=name: changed(invariance, name, one.detach()))  # type: ignore[misc]
        for name, value in both.items()
    }
    found = copy.deepcopy(module)(**{**inputs, **moved})
    torch.testing.assert_close(found, copy.deepcopy(module)(**inputs))


# Weights and masks


@each_weighted_loss
def test_rows_of_weight_zero_are_as_if_they_were_not_there(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    kept = take(inputs, weight.bool())
    found = copy.deepcopy(module)(**inputs, weight=weight)
    torch.testing.assert_close(found, copy.deepcopy(module)(**kept))
    for name, gradient in gradients(found, inputs).items():
        if "head_weight" not in name:
            assert gradient[1].abs().max() == 0


@each_row_loss
def test_the_mean_is_over_the_sum_of_the_weights(entry: LossEntry, options: dict[str, Any]) -> None:
    if "weight" not in entry.accepts:
        pytest.skip("takes no weights")
    inputs, module = make_inputs(entry), build(entry, options)
    weight = torch.rand(6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.1
    alone = torch.stack([copy.deepcopy(module)(**take(inputs, torch.tensor([row]))) for row in range(6)])
    found = copy.deepcopy(module)(**inputs, weight=weight)
    torch.testing.assert_close(found, (weight * alone).sum() / weight.sum())
    torch.testing.assert_close(copy.deepcopy(module)(**inputs, weight=7 * weight), found)


@each_weighted_loss
def test_equal_weights_of_any_size_are_as_none(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry, dtype=torch.float32), build(entry, options)
    module = module.to(torch.float32)
    expected = copy.deepcopy(module)(**inputs)
    for size in (1.0, 1e-30, 1e30):
        found = copy.deepcopy(module)(**inputs, weight=torch.full((6,), size))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
        assert all(torch.isfinite(gradient).all() for gradient in gradients(found, inputs).values())


@each_weighted_loss
def test_without_weight_left_the_loss_and_its_gradient_are_zero(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    loss = module(**inputs, weight=torch.zeros(6))
    assert loss.item() == 0
    for gradient in gradients(loss, inputs).values():
        assert gradient.abs().max() == 0


@each_setting
def test_an_empty_batch_gives_zero(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs = take(make_inputs(entry), torch.zeros(0, dtype=torch.int64))
    assert build(entry, options)(**inputs).item() == 0


@each_sequence_loss
def test_positions_count_like_rows(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry, positions=4), build(entry, options)
    flat = {name: each(value, lambda one: one.flatten(0, 1)) for name, value in inputs.items()}
    torch.testing.assert_close(module(**inputs), module(**flat))


@each_sequence_loss
def test_masked_positions_are_as_if_they_were_not_there(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry, positions=4), build(entry, options)
    mask = torch.arange(4)[None, :] < torch.tensor([4, 1, 2, 0, 3, 4])[:, None]
    kept = {name: each(value, lambda one: one.detach()[mask]) for name, value in inputs.items()}
    torch.testing.assert_close(module(**inputs, mask=mask), module(**kept))
    assert module(**inputs, mask=torch.zeros_like(mask)).item() == 0


@each_sequence_loss
def test_a_rows_weight_is_that_of_each_of_its_positions(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry, positions=4), build(entry, options)
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 1.0], dtype=torch.float64)
    flat = {name: each(value, lambda one: one.flatten(0, 1)) for name, value in inputs.items()}
    expected = module(**flat, weight=weight.repeat_interleave(4))
    torch.testing.assert_close(module(**inputs, weight=weight), expected)
    mask = torch.ones(6, 4, dtype=torch.bool)
    torch.testing.assert_close(module(**inputs, weight=weight, mask=mask), expected)


# Numbers that are hard to compute with


def hard(kind: str, name: str, value: Tensor) -> Tensor:
    """A tensor of the same shape that is hard to compute with."""
    side, last = name[:8], value.shape[-1]
    signs = torch.where(torch.randn(value.shape, generator=torch.Generator().manual_seed(3)) > 0, 1.0, -1.0)
    one_hot = F.one_hot(torch.arange(value[..., 0].numel()) % last, last).float().view(value.shape)
    replacements = {
        ("large student", "student_"): 1e4 * signs,
        ("large both", "student_"): 1e4 * signs,
        ("large both", "teacher_"): -1e4 * signs,
        ("one-hot teacher", "teacher_"): 1e4 * one_hot,
        ("sure and wrong", "student_"): 1e4 * one_hot.roll(1, -1),
        ("sure and wrong", "teacher_"): 1e4 * one_hot,
        ("constant", "student_"): torch.zeros(value.shape),
        ("constant", "teacher_"): torch.zeros(value.shape),
    }
    return replacements.get((kind, side), value.detach())


@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize(
    "kind", ["large student", "large both", "one-hot teacher", "sure and wrong", "constant", "ordinary"]
)
@each_setting
def test_loss_and_gradient_stay_finite(entry: LossEntry, options: dict[str, Any], kind: str, rows: int) -> None:
    ordinary = make_inputs(entry, rows=rows, dtype=torch.float32)
    inputs = replace(
        ordinary,
        {
            name: hard(kind, name, value).clone().requires_grad_(name.startswith("student_"))
            for name, value in tensors(ordinary).items()
            if value.is_floating_point() and name[:8] in ("student_", "teacher_")
        },
    )
    loss = build(entry, options, ordinary)(**inputs)
    assert torch.isfinite(loss)
    for gradient in gradients(loss, inputs).values():
        assert torch.isfinite(gradient).all()


@settings(lambda entry: entry.exact_gradient)
def test_gradients_are_those_of_the_value(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs = make_inputs(entry, rows=3, classes=4)
    module = build(entry, options, inputs)
    if entry.learned:
        module(**inputs)  # what the first batch fixes is no function of the inputs from then on
    named = student_side(inputs)
    weight = {"weight": torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64)} if "weight" in entry.accepts else {}

    def value(*student: Tensor) -> Tensor:
        result: Tensor = copy.deepcopy(module)(**replace(inputs, dict(zip(named, student, strict=True))), **weight)
        return result

    # Many numbers are checked along random directions instead of one by one.
    many = sum(tensor.numel() for tensor in named.values()) > 100
    assert torch.autograd.gradcheck(value, tuple(named.values()), fast_mode=many)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each_setting
def test_half_precision_inputs_are_computed_in_float32(
    entry: LossEntry, options: dict[str, Any], dtype: torch.dtype
) -> None:
    inputs = make_inputs(entry, dtype=dtype)
    module = build(entry, options, inputs)
    wide = {
        name: each(value, lambda one: one.detach().float() if one.is_floating_point() else one)
        for name, value in inputs.items()
    }
    expected = copy.deepcopy(module)(**wide)
    with torch.autocast("cpu", dtype=dtype):
        loss = module(**inputs)
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    loss.backward()
    assert all(value.grad is not None and value.grad.dtype is dtype for value in student_side(inputs).values())


# Modules


@each_setting
def test_state_survives_saving(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    module(**inputs)  # what is remembered after a step
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    restored = build(entry, options)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(restored(**inputs), module(**inputs))


@settings(lambda entry: bool(entry.learned))
def test_a_loss_with_parts_asks_to_be_built(entry: LossEntry, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="build"):
        entry.load()(entry.options.model_validate(options))(**make_inputs(entry))


@each_setting
def test_building_leaves_the_random_state_alone(entry: LossEntry, options: dict[str, Any]) -> None:
    before = torch.random.get_rng_state()
    first, second = build(entry, options), build(entry, options)
    assert torch.equal(torch.random.get_rng_state(), before)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@each_setting
def test_the_options_show_in_the_representation(entry: LossEntry, options: dict[str, Any]) -> None:
    shown = repr(build(entry, options))
    assert all(f"{name}={value!r}" in shown for name, value in options.items())


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.compiles], ids=setting_name)
def test_compiles_without_a_graph_break(entry: LossEntry) -> None:
    torch._dynamo.reset()
    inputs = make_inputs(entry, dtype=torch.float32)
    module = build(entry, {}, inputs)
    weight = {"weight": torch.rand(6, generator=torch.Generator().manual_seed(4))} if "weight" in entry.accepts else {}
    expected = copy.deepcopy(module)(**inputs, **weight)
    found = torch.compile(copy.deepcopy(module), fullgraph=True, backend="aot_eager")(**inputs, **weight)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, inputs), gradients(expected, inputs))
