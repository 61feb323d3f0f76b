"""Our losses against numbers that published implementations gave, file by file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.losses.families import FAMILIES
from tests.losses.golden_case import Arrays, GoldenCase

DATA = os.environ.get("MMDISTILL_DATA")
FOLDER = Path(DATA).parent / "golden" if DATA else None
GOLDEN: dict[str, GoldenCase] = {name: case for family in FAMILIES for name, case in family.GOLDEN.items()}
NOT_LOSSES = {"lmf": "a fusion", "ogm_ge": "a modulation of gradients"}

pytestmark = pytest.mark.skipif(
    FOLDER is None or not FOLDER.is_dir(), reason="the folder golden/ beside MMDISTILL_DATA is not there"
)


def recorded(name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a case and what its method's description says about it."""
    assert FOLDER is not None
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        found = {key: arrays[key] for key in arrays.files}
    method = json.loads((FOLDER / f"{name.split('__')[0]}.json").read_text())
    (case,) = [case for variant in method["variants"] for case in variant["cases"] if case["file"] == f"{name}.npz"]
    return found, case


def ours(name: str, arrays: dict[str, np.ndarray], case: dict[str, Any], dtype: torch.dtype) -> tuple[Tensor, Arrays]:
    leaves: Arrays = {}
    for key, array in arrays.items():
        value = torch.from_numpy(array)
        leaves[key] = value.to(dtype) if value.is_floating_point() else value
        if key in case["grads_recorded"]:
            leaves[key].requires_grad_()
    torch.manual_seed(0)
    return GOLDEN[name].call(leaves, case["hyper_parameters"]), leaves


@pytest.mark.parametrize("name", [name for name, case in GOLDEN.items() if not case.deviation])
def test_loss_and_gradients_are_those_recorded(name: str) -> None:
    arrays, case = recorded(name)
    golden = GOLDEN[name]
    loss, leaves = ours(name, arrays, case, torch.float64)
    loss.backward()
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=golden.loss_tolerance)
    compared = [key for key in case["grads_recorded"] if key not in golden.without_gradient]
    largest = max(np.abs(arrays[f"grad_{key}"]).max() for key in compared)
    for key in compared:
        expected, found = arrays[f"grad_{key}"], leaves[key].grad
        scale = largest if key in golden.zero_gradients else np.abs(expected).max()
        difference = np.abs((0 if found is None else found.numpy()) - expected).max()
        assert difference <= golden.gradient_tolerance * scale, key


@pytest.mark.parametrize("name", [name for name, case in GOLDEN.items() if not case.deviation])
def test_float32_stays_close(name: str) -> None:
    arrays, case = recorded(name)
    loss, _ = ours(name, arrays, case, torch.float32)
    assert loss.item() == pytest.approx(float(arrays["loss"]), rel=max(1e-5, GOLDEN[name].loss_tolerance))


@pytest.mark.parametrize("name", [name for name, case in GOLDEN.items() if case.deviation])
def test_a_deviation_is_one(name: str) -> None:
    arrays, case = recorded(name)
    loss, leaves = ours(name, arrays, case, torch.float64)
    loss.backward()
    same_loss = loss.item() == pytest.approx(float(arrays["loss"]), rel=1e-6)
    gradients = {key: leaves[key].grad for key in case["grads_recorded"]}
    same_gradients = all(
        found is not None and np.abs(found.numpy() - arrays[f"grad_{key}"]).max() <= 1e-5 * np.abs(found.numpy()).max()
        for key, found in gradients.items()
    )
    assert not (same_loss and same_gradients), "ours gives the recorded numbers: remove the deviation"


def test_every_file_of_the_folder_is_named() -> None:
    assert FOLDER is not None
    files = {path.stem for path in FOLDER.glob("*.npz") if path.stem.split("__")[0] not in NOT_LOSSES}
    assert files == set(GOLDEN)
