"""A training to be killed: every kind of hidden state, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.distill.adapters.adapter import Adapter
from mmdistill.distill.arguments import Argument
from mmdistill.distill.objective import Objective, Term
from mmdistill.distill.signals import LiveTeacher
from mmdistill.recipe.schema import ComputeSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import fit
from mmdistill.training.phase import student_phase
from tests.training.standins import Memory, Model, new_model, spec

TRAIN = {
    "epochs": 4,
    "accumulate": 2,
    "clip_norm": 1.0,
    "schedule": {"name": "cosine", "warmup": 0.1},
    "checkpoint": {"steps": 3},
    "log_every": 2,
}


class Remembering(nn.Module):
    """A loss with state: distances to features, whose running mean it keeps in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(16))
        self.mean: Tensor

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        with torch.no_grad():
            self.mean.lerp_(teacher_features.mean(dim=0), 0.1)
        return (student_features - teacher_features + self.mean).square().mean()


class Slow(Memory):
    """A loader that leaves time to be killed in."""

    def __init__(self, pause: float) -> None:
        super().__init__(72)
        self.pause = pause

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        for batch in super().batches(epoch, start):
            time.sleep(self.pause)
            yield batch


def train(folder: Path, pause: float = 0.0) -> tuple[Any, Model]:
    """Train, or go on, and write the final weights to ``final.pt``."""
    torch.set_num_threads(1)
    student, teacher = new_model(1), new_model(2, width=16)
    torch.manual_seed(3)
    adapter = Adapter(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16)))
    arguments = [
        Argument("student_features", "student", ("fused",)),
        Argument("teacher_features", "teacher", ("fused",)),
    ]
    adapters = {"student_features": [adapter]}
    term = Term("features", Remembering(), arguments, lambda step: 0.1 * (step + 1), adapters=adapters)
    objective = Objective({"label": CrossEntropy()}, [term], balanced=True)
    settings = spec(**TRAIN)
    signals = LiveTeacher(teacher, objective.teacher_taps)
    phase = student_phase("student", student, objective, settings, signals=signals)
    loader = Slow(pause)

    def validate() -> float:
        student.eval()
        with torch.no_grad():
            logits = student({"x": {"values": loader.values}})["logits"]
        return float((logits.argmax(dim=1) == loader.target).float().mean())

    accelerator = make_accelerator(ComputeSpec(device="cpu"))
    result = fit(phase, loader, settings, accelerator=accelerator, seed=4, folder=folder, validate=validate)
    state = {name: module.state_dict() for name, module in phase.modules.items()}
    torch.save(state | {"best": [result.best_epoch, result.best_score]}, folder / "final.pt")
    return result, student
