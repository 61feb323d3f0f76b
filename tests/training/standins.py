"""A small model, a loader in memory and the settings that make a training of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from mmdistill.distill.objective import Objective
from mmdistill.recipe.schema import ComputeSpec, TrainSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import fit
from mmdistill.training.phase import Phase, student_phase
from mmdistill.training.state import TrainResult

CLASSES = 3


class Model(nn.Module):
    """Everything with hidden state in it: batch statistics, dropout, several parameters."""

    columns = ("x",)

    def __init__(self, width: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, CLASSES)

    def forward(self, features: Any, present: Any = None) -> dict[str, Tensor]:
        fused = self.dropout(torch.relu(self.norm(self.hidden(features["x"]["values"]))))
        return {"fused": fused, "logits": self.head(fused)}


class Memory:
    """A loader of rows in memory; the order is a pure function of the epoch."""

    def __init__(self, rows: int = 40, batch_size: int = 8) -> None:
        generator = torch.Generator().manual_seed(0)
        self.values = torch.randn(rows, 4, generator=generator)
        self.target = (self.values[:, 0] > 0).long() + (self.values[:, 1] > 0).long()
        self.labelled = torch.ones(rows, dtype=torch.bool)
        self.rows, self.batch_size = rows, batch_size

    def __len__(self) -> int:
        return -(-self.rows // self.batch_size)

    def order(self, epoch: int) -> Tensor:
        return torch.randperm(self.rows, generator=torch.Generator().manual_seed(epoch))

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        order = self.order(epoch)
        for index in range(start, len(self)):
            yield self.batch(order[index * self.batch_size : (index + 1) * self.batch_size])

    def batch(self, rows: Tensor) -> TensorDict:
        return TensorDict(
            {
                "features": {"x": {"values": self.values[rows]}},
                "present": {"x": torch.ones(len(rows), dtype=torch.bool)},
                "target": {"label": self.target[rows]},
                "labelled": {"label": self.labelled[rows]},
                "row": rows,
                "view": torch.zeros_like(rows),
            },
            [len(rows)],
        )


def new_model(seed: int = 0, **options: Any) -> Model:
    torch.manual_seed(seed)
    return Model(**options)


def phase_of(model: nn.Module, train: TrainSpec) -> Phase:
    return student_phase("student", model, Objective({"label": CrossEntropy()}), train)


def train_model(
    model: nn.Module, loader: Any, train: TrainSpec, *, folder: Path | None = None, seed: int = 0, **options: Any
) -> TrainResult:
    """Fit a model on the CPU."""
    compute = ComputeSpec(device="cpu")
    return fit(
        phase_of(model, train),
        loader,
        train,
        accelerator=make_accelerator(compute),
        seed=seed,
        folder=folder,
        **options,
    )


def equal_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def spec(**changes: Any) -> TrainSpec:
    """A short training."""
    return TrainSpec.model_validate({"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "log_every": 4, **changes})
