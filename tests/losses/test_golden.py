"""Our losses against numbers that published implementations gave, file by file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmdistill.losses import functional
from tests.losses.golden_cases import GOLDEN, GoldenCase

DATA = os.environ.get("MMDISTILL_DATA")
FOLDER = Path(DATA).parent / "golden" if DATA else None
METHODS = ("kd", "soft_ce", "mse_logits", "dkd")

pytestmark = pytest.mark.skipif(
    FOLDER is None or not FOLDER.is_dir(), reason="the folder golden/ beside MMDISTILL_DATA is not there"
)


def _case(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any], list[str]]:
    assert FOLDER is not None
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        found = {key: arrays[key] for key in arrays.files}
    method = json.loads((FOLDER / f"{name.split('__')[0]}.json").read_text())
    (case,) = [case for variant in method["variants"] for case in variant["cases"] if case["file"] == f"{name}.npz"]
    return found, case["hyper_parameters"], case["grads_recorded"]


def _ours(
    golden: GoldenCase, arrays: dict[str, np.ndarray], numbers: dict[str, Any], learned: list[str], dtype: torch.dtype
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    names = [name for name in arrays if name.startswith(("student_", "teacher_", "target"))]
    inputs = {name: torch.from_numpy(arrays[name]) for name in names}
    inputs = {name: value.to(dtype) if value.is_floating_point() else value for name, value in inputs.items()}
    for name in learned:
        inputs[name].requires_grad_()
    options = {ours: numbers[theirs] for theirs, ours in golden.options.items()} | golden.options_beside
    needed = {name: value for name, value in inputs.items() if name != "target" or golden.loss == "dkd"}
    loss = getattr(functional, golden.loss)(**needed, **options)
    return golden.combine(loss, inputs, numbers), inputs


@pytest.mark.parametrize("name", GOLDEN)
def test_loss_and_gradients_are_those_recorded(name: str) -> None:
    arrays, numbers, learned = _case(name)
    loss, inputs = _ours(GOLDEN[name], arrays, numbers, learned, torch.float64)
    loss.backward()
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=1e-7)
    for key in learned:
        recorded, found = arrays[f"grad_{key}"], inputs[key].grad
        assert found is not None
        assert np.abs(found.numpy() - recorded).max() <= 1e-5 * np.abs(recorded).max()


@pytest.mark.parametrize("name", GOLDEN)
def test_float32_stays_close(name: str) -> None:
    arrays, numbers, learned = _case(name)
    loss, _ = _ours(GOLDEN[name], arrays, numbers, learned, torch.float32)
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=1e-5)


def test_every_file_of_these_methods_is_named() -> None:
    assert FOLDER is not None
    files = {path.stem for method in METHODS for path in FOLDER.glob(f"{method}__*.npz")}
    assert files == {name for name in GOLDEN if name.split("__")[0] in METHODS}
