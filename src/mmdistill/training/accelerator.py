"""The machine that a recipe asks for, as one Accelerate object."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from mmdistill.errors import InputError, require
from mmdistill.recipe.schema import ComputeSpec

PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}
TRACKER_MODULES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}


def make_accelerator(compute: ComputeSpec) -> Accelerator:
    """The device, the precision and the trackers of `compute`; sets the number of CPU threads.

    Accelerate keeps one state a process; it is made anew here, so that runs of different precision can follow one
    another.

    Raises:
        InputError: when there is no such device, or it cannot compute in that precision.
        MissingExtra: when a tracker is not installed.
    """
    for tracker in compute.track:
        require(TRACKER_MODULES[tracker], "track", f"The tracker {tracker!r}")
    device = choose_device(compute.device)
    if compute.precision == "float16" and device.type != "cuda":
        raise InputError(
            f"float16 training needs a CUDA device, and this run uses {device.type}",
            where="compute.precision",
            fix="Choose bfloat16 or float32",
        )
    if compute.threads is not None:
        torch.set_num_threads(compute.threads)
    if AcceleratorState._shared_state and _alone():
        AcceleratorState._reset_state(reset_partial_state=True)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        # The same recipe on the same machine gives the same numbers; the fastest convolution is not always a fixed one.
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    return Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=PRECISIONS[compute.precision],
        log_with=list(compute.track) or None,
        project_dir=".",
    )


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        InputError: when this machine, or this build of PyTorch, has no such device.
    """
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    kind, _, index = name.partition(":")
    if kind not in available or (index and not index.isdigit()):
        raise InputError(
            f"There is no device {name!r}", where="compute.device", fix="Choose auto, cpu, cuda, cuda:<number> or mps"
        )
    if int(index or 0) >= available[kind]:
        raise InputError(
            f"The device {name!r} was not found on this machine",
            where="compute.device",
            fix="`mmdistill doctor` shows the devices; cpu always works",
        )
    return torch.device(name)


def _alone() -> bool:
    """Whether this process is the only one of its run."""
    return int(os.environ.get("WORLD_SIZE", "1")) == 1
