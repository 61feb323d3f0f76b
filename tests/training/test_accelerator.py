"""The machine that a recipe asks for; trackers get the rows of the history."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from mmdistill.errors import InputError, MissingExtra
from mmdistill.recipe.schema import ComputeSpec
from mmdistill.training.accelerator import choose_device, make_accelerator
from mmdistill.training.loop import fit
from tests.training.standins import Memory, new_model, phase_of, spec


def test_devices_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else choose_device("auto").type)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "tpu:0", ""])
def test_a_device_that_does_not_exist_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="There is no device"):
        choose_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_a_device_that_is_not_here_is_an_error() -> None:
    with pytest.raises(InputError, match=r"'cuda:1' was not found on this machine.*doctor"):
        make_accelerator(ComputeSpec(device="cuda:1"))


def test_float16_needs_cuda() -> None:
    with pytest.raises(InputError, match="float16 training needs a CUDA device"):
        make_accelerator(ComputeSpec(device="cpu", precision="float16"))


def test_precisions_may_follow_one_another() -> None:
    assert make_accelerator(ComputeSpec(device="cpu", precision="bfloat16")).mixed_precision == "bf16"
    again = make_accelerator(ComputeSpec(device="cpu"))
    assert again.mixed_precision == "no"
    assert again.device == torch.device("cpu")


def test_threads_are_set() -> None:
    before = torch.get_num_threads()
    try:
        make_accelerator(ComputeSpec(device="cpu", threads=before + 1))
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_a_tracker_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtra, match=r"mmdistill\[track\]"):
        make_accelerator(ComputeSpec(device="cpu", track=["mlflow"]))


def test_tensorboard_gets_every_row(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accelerator = make_accelerator(ComputeSpec(device="cpu", track=["tensorboard"]))
    model, train = new_model(), spec()
    result = fit(phase_of(model, train), Memory(), train, accelerator=accelerator, seed=0, folder=tmp_path)
    accumulator = EventAccumulator(str(tmp_path / "mmdistill"))
    accumulator.Reload()
    seen = [(event.step, event.value) for event in accumulator.Scalars("total")]
    assert seen == [(row["step"], pytest.approx(row["total"])) for row in result.history]
