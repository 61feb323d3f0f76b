"""One supervised training step through mmdistill beside the same step written by hand, in one process.

    python benchmarks/training_step.py [--device cuda] [--pairs 20] [--steps 20]

The two take turns step by step: while the loop waits for its next batch, the hand-written step runs, twice, so that the
same step is also measured against itself. Both use tensors in memory, the same small CNN, 128 rows of 28×28, and fused
AdamW. A pair is the median time of some steps of each side; printed are the median of the ratios over the pairs and a
95 % bootstrap interval of it.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.distill.objective import Objective
from mmdistill.recipe.schema import ComputeSpec, TrainSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import fit
from mmdistill.training.phase import student_phase

ROWS, BATCH, CLASSES = 4096, 128, 10


class SmallCNN(nn.Module):
    """Two convolutions with batch norm, then a linear layer: 5,290 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class Named(nn.Module):
    """The same network with the signature of mmdistill's models."""

    columns = ("image",)

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: TensorDict, present: TensorDict) -> dict[str, Tensor]:  # noqa: ARG002
        return {"logits": self.network(features["image"]["values"])}


class Data:
    """Random images and classes on the device."""

    def __init__(self, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(ROWS, 1, 28, 28, generator=generator).to(device)
        self.target = torch.randint(0, CLASSES, (ROWS,), generator=generator).to(device)
        self.labelled = torch.ones(ROWS, dtype=torch.bool, device=device)

    def rows(self, step: int) -> Tensor:
        """Row numbers of a step's batch."""
        begin = step * BATCH % ROWS
        return torch.arange(begin, begin + BATCH, device=self.images.device)

    def batch(self, rows: Tensor) -> TensorDict:
        """A batch as mmdistill's loader gives it."""
        return TensorDict(
            {
                "features": {"image": {"values": self.images[rows]}},
                "present": {"image": self.labelled[rows]},
                "target": {"digit": self.target[rows]},
                "labelled": {"digit": self.labelled[rows]},
                "row": rows,
                "view": torch.zeros_like(rows),
            },
            [BATCH],
        )


def hand_written(data: Data) -> Callable[[int], None]:
    """The step as anyone would write it."""
    torch.manual_seed(0)
    model = SmallCNN().to(data.images.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(index: int) -> None:
        rows = data.rows(index)
        loss = F.cross_entropy(model(data.images[rows]), data.target[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


class TakingTurns:
    """A loader whose batches are preceded by hand-written steps; it takes the time of all of them."""

    def __init__(self, data: Data, others: list[Callable[[int], None]], steps: int) -> None:
        self.data, self.others, self.steps = data, others, steps
        self.seconds: list[list[float]] = []

    def __len__(self) -> int:
        return self.steps

    def now(self) -> float:
        """The time after all work that was asked for is done."""
        if self.data.images.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:  # noqa: ARG002
        """Each round: every other side once, in an order that changes, then a batch for the loop."""
        for index in range(start, self.steps):
            taken = [0.0] * (len(self.others) + 1)
            for place in range(len(self.others)):
                side = (place + index) % len(self.others)
                began = self.now()
                self.others[side](index)
                taken[side + 1] = self.now() - began
            began = self.now()
            yield self.data.batch(self.data.rows(index))
            taken[0] = self.now() - began
            self.seconds.append(taken)


def measure(device: torch.device, pairs: int, steps: int, warm_up: int) -> np.ndarray:
    """Seconds of each step, float64 (steps, 3): mmdistill, by hand, by hand again."""
    data = Data(device)
    turns = TakingTurns(data, [hand_written(data), hand_written(data)], pairs * steps + warm_up)
    train = TrainSpec(epochs=1, batch_size=BATCH, learning_rate=1e-3, select="last")
    torch.manual_seed(0)
    phase = student_phase("benchmark", Named(SmallCNN()), Objective({"digit": CrossEntropy()}), train, device=device)
    accelerator = make_accelerator(ComputeSpec(device=device.type))
    fit(phase, turns, train, accelerator=accelerator, seed=0)
    return np.array(turns.seconds[warm_up:])


def ratio(one: np.ndarray, other: np.ndarray, steps: int) -> tuple[float, float, float]:
    """Median over the pairs of the ratio of two sides' block medians, with a 95 % bootstrap interval."""
    ratios = np.median(one.reshape(-1, steps), axis=1) / np.median(other.reshape(-1, steps), axis=1)
    drawn = np.random.default_rng(0).choice(ratios, (5000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=20, help="steps of each side in a pair")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    seconds = measure(torch.device(chosen.device), chosen.pairs, chosen.steps, warm_up=20)
    print(f"{platform.machine()}, {chosen.device}, {chosen.threads} threads, torch {torch.__version__}")
    print(f"batch {BATCH}, {chosen.pairs} pairs of {chosen.steps} steps")
    for name, column in (("mmdistill", 0), ("by hand", 1), ("by hand again", 2)):
        print(f"{name:>14}: {statistics.median(seconds[:, column]) * 1e3:7.3f} ms a step")
    for name, column in (("mmdistill / by hand", 0), ("by hand again / by hand", 2)):
        middle, low, high = ratio(seconds[:, column], seconds[:, 1], chosen.steps)
        print(f"{name:>24}: {middle:.3f}  [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
