"""What every transform of logits must hold, and what is particular to standardisation."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor

from mmdistill import catalog
from mmdistill.errors import InputError
from mmdistill.losses import functional, transforms
from mmdistill.losses.transforms.catalog import TransformEntry
from tests.losses.loss_inputs import ENTRIES as LOSSES
from tests.losses.loss_inputs import build as build_loss
from tests.losses.loss_inputs import make_inputs

ENTRIES: list[TransformEntry] = [entry for entry in catalog.entries("transform") if isinstance(entry, TransformEntry)]
each_transform = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


def logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2


STUDENT, TEACHER = logits(6, 5), logits(6, 5, seed=1)
TARGET = torch.tensor([0, 1, 2, 3, 4, 0])


def build(entry: TransformEntry) -> torch.nn.Module:
    module: torch.nn.Module = entry.load()(entry.options())
    return module


# Every transform


@each_transform
def test_both_sides_go_in_and_come_out(entry: TransformEntry) -> None:
    assert list(inspect.signature(entry.load().forward).parameters) == ["self", "student_logits", "teacher_logits"]
    for shape in ((6, 5), (2, 3, 5)):
        for side in build(entry)(logits(*shape), logits(*shape, seed=1)):
            assert side.shape == shape
            assert side.dtype is torch.float64


@each_transform
def test_docstrings_tell_the_source(entry: TransformEntry) -> None:
    module = inspect.getmodule(entry.load())
    assert module is not None
    assert module.__doc__ is not None
    assert entry.paper.split(",")[0] in module.__doc__
    assert all((entry.summary, entry.equation, entry.when, entry.cost))
    assert all(field.description for field in entry.options.model_fields.values())
    assert getattr(transforms, entry.load().__name__) is entry.load()
    assert entry.name in dir(functional)


@each_transform
def test_the_student_gets_gradient_and_the_teacher_none(entry: TransformEntry) -> None:
    student, teacher = STUDENT.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    functional.kd(*build(entry)(student, teacher)).backward()
    assert student.grad is not None
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


@each_transform
def test_equal_sides_stay_equal(entry: TransformEntry) -> None:
    student, teacher = build(entry)(TEACHER, TEACHER)
    torch.testing.assert_close(student, teacher)


@each_transform
def test_declared_invariances_hold(entry: TransformEntry) -> None:
    changes = {"shift": lambda value: value + 3, "scale": lambda value: value * 7}
    for invariance in entry.invariances:
        moved = build(entry)(changes[invariance](STUDENT), TEACHER)
        torch.testing.assert_close(moved, build(entry)(STUDENT, TEACHER), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each_transform
def test_half_precision_is_computed_in_float32(entry: TransformEntry, dtype: torch.dtype) -> None:
    student, teacher = STUDENT.to(dtype), TEACHER.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        found = build(entry)(student, teacher)
    torch.testing.assert_close(found, build(entry)(student.float(), teacher.float()), rtol=1e-6, atol=1e-6)
    assert found[0].dtype is torch.float32


@each_transform
def test_compiles_without_a_graph_break(entry: TransformEntry) -> None:
    torch._dynamo.reset()
    module = build(entry)
    found = torch.compile(module, fullgraph=True, backend="aot_eager")(STUDENT, TEACHER)
    torch.testing.assert_close(found, module(STUDENT, TEACHER))


@each_transform
def test_every_loss_of_logits_takes_what_comes_out(entry: TransformEntry) -> None:
    sides = dict(zip(("student_logits", "teacher_logits"), build(entry)(STUDENT, TEACHER), strict=True))
    for loss in LOSSES:
        if set(sides) <= set(loss.needs):
            assert torch.isfinite(build_loss(loss)(**{**make_inputs(loss), **sides})), loss.name


# Standardisation


def published(logits: Tensor) -> Tensor:
    return (logits - logits.mean(-1, keepdim=True)) / (1e-7 + logits.std(-1, keepdim=True))


def test_standardise_gives_mean_0_and_deviation_1() -> None:
    ours = functional.standardise(STUDENT)
    torch.testing.assert_close(ours.mean(-1), torch.zeros(6).double())
    torch.testing.assert_close(ours.std(-1), torch.ones(6).double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(ours, published(STUDENT), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(functional.standardise(STUDENT, temperature=2.0), ours / 2)


@pytest.mark.parametrize("shape", [(6, 2), (6, 5), (2, 3, 7)])
def test_the_gradient_is_that_of_the_formula(shape: tuple[int, ...]) -> None:
    slopes = []
    for function in (functional.standardise, published):
        student = logits(*shape).requires_grad_()
        (function(student) * logits(*shape, seed=2)).sum().backward()
        assert student.grad is not None
        slopes.append(student.grad)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-6, atol=1e-6)


def test_the_gradient_is_that_of_the_value() -> None:
    assert torch.autograd.gradcheck(functional.standardise, (logits(3, 4).requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_equal_logits_give_zeros_and_no_gradient(value: float, dtype: torch.dtype) -> None:
    """A head that starts at zero: by the published formula the first gradient is of the order of 1e7."""
    student = torch.full((2, 5), value, dtype=dtype, requires_grad=True)
    ours = functional.standardise(student)
    functional.kd(ours, functional.standardise(TEACHER[:2].to(dtype))).backward()
    assert student.grad is not None
    assert ours.abs().max() == 0
    assert student.grad.abs().max() == 0


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_large_and_small_logits_stay_finite(size: float) -> None:
    student = (STUDENT * size).float().requires_grad_()
    ours = functional.standardise(student)
    torch.testing.assert_close(ours, functional.standardise(STUDENT).float(), rtol=1e-3, atol=1e-4)
    functional.kd(ours, functional.standardise(TEACHER.float())).backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize(("name", "options"), [("kd", {}), ("dkd", {"alpha": 9.0, "beta": 72.0})])
def test_the_papers_t_squared_comes_with_the_loss(name: str, options: dict[str, Any]) -> None:
    """Standardised logits with the temperature in the loss: T² of the same divergence of softer logits."""
    rest = (TARGET,) if name == "dkd" else ()
    function = getattr(functional, name)
    in_loss = function(*transforms.Standardise()(STUDENT, TEACHER), *rest, temperature=2.0, **options)
    in_transform = function(
        *transforms.Standardise(temperature=2.0)(STUDENT, TEACHER), *rest, temperature=1.0, **options
    )
    torch.testing.assert_close(in_loss, 4 * in_transform)


def test_wrong_use_of_standardise_is_named() -> None:
    with pytest.raises(InputError, match="1 logits"):
        functional.standardise(STUDENT[:, :1])
    with pytest.raises(InputError, match="temperature"):
        transforms.Standardise(temperature=0)
    with pytest.raises(InputError, match="Did you mean 'temperature'"):
        transforms.Standardise(temprature=2)
    with pytest.raises(AttributeError):
        transforms.Nothing  # noqa: B018
    assert "Standardise" in dir(transforms)


def test_the_catalog_of_transforms_does_not_load_torch() -> None:
    import subprocess
    import sys

    code = "import sys, mmdistill.losses.transforms.catalog; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
