"""What every registered loss must hold. A loss joins by being registered; new kinds of input go to `loss_inputs`."""

from __future__ import annotations

import inspect
import io
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mmdistill import catalog, losses
from mmdistill.losses import functional
from mmdistill.losses.entry import LossEntry
from tests.losses.loss_inputs import (
    ENTRIES,
    SETTINGS,
    at_equality,
    build,
    forward_parameters,
    make_inputs,
    setting_name,
    student_side,
    take,
)

each_setting = pytest.mark.parametrize(("entry", "options"), SETTINGS, ids=setting_name)
each_loss = pytest.mark.parametrize("entry", ENTRIES, ids=setting_name)
each_sequence_loss = pytest.mark.parametrize(
    ("entry", "options"), [pair for pair in SETTINGS if pair[0].sequences], ids=setting_name
)
each_row_loss = pytest.mark.parametrize(
    ("entry", "options"), [pair for pair in SETTINGS if pair[0].by_row], ids=setting_name
)


def gradients(loss: Tensor, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    names = list(student_side(inputs))
    return dict(zip(names, torch.autograd.grad(loss, [inputs[name] for name in names]), strict=True))


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
    parameters = inspect.signature(function).parameters
    options = {
        name: parameter.default for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert [name for name in parameters if name not in options] == list(forward_parameters(entry))
    assert options == entry.options().model_dump()
    assert getattr(losses, entry.load().__name__) is entry.load()


@each_loss
def test_docstrings_tell_source_and_typical_weight(entry: LossEntry) -> None:
    function = getattr(functional, entry.name)
    module = inspect.getmodule(function)
    assert module is not None
    assert module.__doc__ is not None
    assert entry.paper.split(",")[0] in module.__doc__
    assert "Typical weight" in function.__doc__
    assert entry.summary
    assert entry.equation
    assert entry.typical_weight
    assert all(field.description for field in entry.options.model_fields.values())


@each_setting
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
    for name, value in inputs.items():
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
        assert loss.item() > 0.1


@each_setting
def test_following_the_gradient_brings_the_student_to_the_teacher(entry: LossEntry, options: dict[str, Any]) -> None:
    if entry.family != "logits" or 0.0 in options.values():
        pytest.skip("compares less than all of the outputs")
    inputs = make_inputs(entry, scale=1.0)
    optimizer = torch.optim.Adam([inputs["student_logits"]], lr=0.05)
    module, distances = build(entry, options), []
    for _ in range(400):
        log_probabilities = inputs["student_logits"].log_softmax(-1)
        distances.append(F.kl_div(log_probabilities, inputs["teacher_logits"].softmax(-1), reduction="sum").item())
        optimizer.zero_grad()
        module(**inputs).backward()
        optimizer.step()
    assert distances[20] < distances[0]
    assert distances[-1] < 0.01 * distances[0]


@each_setting
def test_a_small_step_makes_the_loss_smaller(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    before = module(**inputs)
    moved = dict(inputs)
    for name, gradient in gradients(before, inputs).items():
        moved[name] = inputs[name] - 1e-4 * gradient
    assert module(**moved) < before


@each_setting
def test_the_order_of_the_rows_does_not_matter(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module(**take(inputs, order)), module(**inputs))


# Weights and masks


@each_row_loss
def test_rows_of_weight_zero_are_as_if_they_were_not_there(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    weight = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    kept = take(inputs, weight.bool())
    torch.testing.assert_close(module(**inputs, weight=weight), module(**kept))
    assert gradients(module(**inputs, weight=weight), inputs)["student_logits"][1].abs().max() == 0


@each_row_loss
def test_the_mean_is_over_the_sum_of_the_weights(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    weight = torch.rand(6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.1
    alone = torch.stack([module(**take(inputs, torch.tensor([row]))) for row in range(6)])
    torch.testing.assert_close(module(**inputs, weight=weight), (weight * alone).sum() / weight.sum())
    torch.testing.assert_close(module(**inputs, weight=7 * weight), module(**inputs, weight=weight))


@each_setting
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
    flat = {name: value.flatten(0, 1) for name, value in inputs.items()}
    torch.testing.assert_close(module(**inputs), module(**flat))


@each_sequence_loss
def test_masked_positions_are_as_if_they_were_not_there(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry, positions=4), build(entry, options)
    mask = torch.arange(4)[None, :] < torch.tensor([4, 1, 2, 0, 3, 4])[:, None]
    kept = {name: value.detach()[mask] for name, value in inputs.items()}
    torch.testing.assert_close(module(**inputs, mask=mask), module(**kept))
    assert module(**inputs, mask=torch.zeros_like(mask)).item() == 0


@each_sequence_loss
def test_a_rows_weight_is_that_of_each_of_its_positions(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry, positions=4), build(entry, options)
    weight = torch.tensor([1.0, 0.0, 2.0, 0.5, 0.0, 1.0], dtype=torch.float64)
    flat = {name: value.flatten(0, 1) for name, value in inputs.items()}
    expected = module(**flat, weight=weight.repeat_interleave(4))
    torch.testing.assert_close(module(**inputs, weight=weight), expected)
    mask = torch.ones(6, 4, dtype=torch.bool)
    torch.testing.assert_close(module(**inputs, weight=weight, mask=mask), expected)


# Numbers that are hard to compute with


def extreme(kind: str, entry: LossEntry, rows: int) -> dict[str, Tensor]:
    inputs = make_inputs(entry, rows=rows, dtype=torch.float32)
    signs = torch.where(torch.randn(rows, 5, generator=torch.Generator().manual_seed(3)) > 0, 1.0, -1.0)
    one_hot = F.one_hot(torch.arange(rows) % 5, 5).float()
    replacements = {
        "large student": {"student_logits": 1e4 * signs},
        "large both": {"student_logits": 1e4 * signs, "teacher_logits": -1e4 * signs},
        "one-hot teacher": {"teacher_logits": 1e4 * one_hot},
        "sure and wrong": {"student_logits": 1e4 * one_hot.roll(1, -1), "teacher_logits": 1e4 * one_hot},
        "constant": {"student_logits": torch.zeros(rows, 5), "teacher_logits": torch.zeros(rows, 5)},
        "ordinary": {},
    }
    return {
        name: replacements[kind].get(name, value.detach()).clone().requires_grad_(name.startswith("student_"))
        if value.is_floating_point()
        else value
        for name, value in inputs.items()
    }


@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize(
    "kind", ["large student", "large both", "one-hot teacher", "sure and wrong", "constant", "ordinary"]
)
@each_setting
def test_loss_and_gradient_stay_finite(entry: LossEntry, options: dict[str, Any], kind: str, rows: int) -> None:
    inputs = extreme(kind, entry, rows)
    loss = build(entry, options)(**inputs)
    assert torch.isfinite(loss)
    for gradient in gradients(loss, inputs).values():
        assert torch.isfinite(gradient).all()


@each_setting
def test_gradients_are_those_of_the_value(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry, rows=3, classes=4), build(entry, options)
    names, weight = list(student_side(inputs)), torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64)

    def value(*student: Tensor) -> Tensor:
        return module(**{**inputs, **dict(zip(names, student, strict=True))}, weight=weight)

    assert torch.autograd.gradcheck(value, tuple(inputs[name] for name in names))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each_setting
def test_half_precision_inputs_are_computed_in_float32(
    entry: LossEntry, options: dict[str, Any], dtype: torch.dtype
) -> None:
    inputs, module = make_inputs(entry, dtype=dtype), build(entry, options)
    wide = {name: value.detach().float() if value.is_floating_point() else value for name, value in inputs.items()}
    with torch.autocast("cpu", dtype=dtype):
        loss = module(**inputs)
    assert loss.dtype is torch.float32
    torch.testing.assert_close(loss, module(**wide), rtol=1e-6, atol=1e-6)
    loss.backward()
    assert all(value.grad is not None and value.grad.dtype is dtype for value in student_side(inputs).values())


# Modules


@each_setting
def test_state_survives_saving(entry: LossEntry, options: dict[str, Any]) -> None:
    inputs, module = make_inputs(entry), build(entry, options)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    restored = build(entry, options)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(restored(**inputs), module(**inputs))


@each_setting
def test_the_options_show_in_the_representation(entry: LossEntry, options: dict[str, Any]) -> None:
    shown = repr(build(entry, options))
    assert all(f"{name}={value!r}" in shown for name, value in options.items())


@each_loss
def test_compiles_without_a_graph_break(entry: LossEntry) -> None:
    torch._dynamo.reset()
    inputs, module = make_inputs(entry, dtype=torch.float32), build(entry)
    weight = torch.rand(6, generator=torch.Generator().manual_seed(4))
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    found, expected = compiled(**inputs, weight=weight), module(**inputs, weight=weight)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, inputs), gradients(expected, inputs))
