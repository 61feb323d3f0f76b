"""One supervised training step through mmdistill beside the same step written by hand, in one process.

    python benchmarks/training_step.py [--device cuda] [--pairs 20] [--steps 20] [--threads 1]

Mmdistill's side is what a run does: prepared rows through the loader, a model of the catalog (`tiny_cnn` on 28×28 grey
images), the objective, and the loop with its history. By hand the same layers are called one after the other on tensors
in memory. Both train with fused AdamW on batches of 128 random rows. The sides take turns step by step: while the loop
waits for its next batch, the hand-written step runs, twice, so that the same step is also measured against itself. A
pair is the median time of some steps of each side; printed are the median of the ratios over the pairs and a 95 %
bootstrap interval of it.
"""

from __future__ import annotations

import argparse
import copy
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.data.features import features_for
from mmdistill.data.loader import Loader
from mmdistill.data.store import prepare
from mmdistill.data.table import Table
from mmdistill.distill.objective import Objective
from mmdistill.models.multimodal import MultimodalModel, build_model
from mmdistill.recipe.schema import ColumnSpec, ComputeSpec, ModelSpec, TrainSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import fit
from mmdistill.training.modalities import ModalityTraining
from mmdistill.training.phase import student_phase

ROWS, BATCH, CLASSES = 4096, 128, 10


class ByHand(nn.Module):
    """The layers of a model of one image column, called as anyone would call them."""

    def __init__(self, model: MultimodalModel) -> None:
        super().__init__()
        encoder = model.encoders["image"]
        self.layers, self.pool = copy.deepcopy(encoder.layers), copy.deepcopy(encoder.pool)
        self.head = copy.deepcopy(model.heads["digit"])
        info = model.features["image"]
        self.mean, self.std = float(info.state["mean"][0]), float(info.state["std"][0])

    def forward(self, images: Tensor) -> Tensor:
        pixels = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        logits: Tensor = self.head(self.pool(self.layers(pixels)))
        return logits


def hand_written(model: MultimodalModel, images: Tensor, target: Tensor) -> Callable[[], None]:
    """The step as anyone would write it, over shuffled rows."""
    network = ByHand(model).to(images.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    order = torch.randperm(ROWS, device=images.device)
    place = 0

    def step() -> None:
        nonlocal place
        rows = order[place : place + BATCH]
        place = (place + BATCH) % ROWS
        loss = F.cross_entropy(network(images[rows]), target[rows])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


class TakingTurns:
    """A loader whose batches are preceded by hand-written steps; it takes the time of all of them."""

    def __init__(self, loader: Loader, others: list[Callable[[], None]]) -> None:
        self.loader, self.others = loader, others
        self.seconds: list[list[float]] = []

    def __len__(self) -> int:
        return len(self.loader)

    def now(self) -> float:
        """The time after all work that was asked for is done."""
        if self.loader.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        """Each round: every other side once, in an order that changes, then a batch for the loop."""
        own = iter(self.loader.batches(epoch, start))
        for index in range(len(self.loader)):
            taken = [0.0] * (len(self.others) + 1)
            for place in range(len(self.others)):
                side = (place + index) % len(self.others)
                began = self.now()
                self.others[side]()
                taken[side + 1] = self.now() - began
            began = self.now()
            yield next(own)
            taken[0] = self.now() - began
            self.seconds.append(taken)


def measure(device: torch.device, pairs: int, steps: int, warm_up: int, threads: int) -> np.ndarray:
    """Seconds of each step, float64 (steps, 3): mmdistill, by hand, by hand again."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (ROWS, 28, 28), dtype=np.uint8)
    target = draw.integers(0, CLASSES, ROWS)
    features = features_for({"image": ColumnSpec.model_validate({"type": "image", "size": 28, "channels": 1})})
    train = TrainSpec(epochs=1, batch_size=BATCH, learning_rate=1e-3, select="last")
    accelerator = make_accelerator(ComputeSpec(device=device.type, threads=threads))
    with tempfile.TemporaryDirectory() as cache:
        rows = prepare(Table.of({"image": list(images)}), features, np.arange(ROWS), cache=cache)
        spec = ModelSpec.model_validate({"encoders": {"image": "tiny_cnn"}})
        model = build_model(spec, {"image": rows.features["image"].info}, {"digit": CLASSES}, seed=0)
        targets = {"digit": (target, np.ones(ROWS, bool))}
        rounds = pairs * steps + warm_up
        loader = Loader(rows, targets, np.arange(ROWS), BATCH, device=device, steps_per_epoch=rounds)
        tensors = torch.from_numpy(images)[:, None].to(device), torch.from_numpy(target).to(device)
        turns = TakingTurns(loader, [hand_written(model, *tensors), hand_written(model, *tensors)])
        objective = Objective({"digit": CrossEntropy()})
        modalities = ModalityTraining(("image",))
        phase = student_phase("benchmark", model, objective, train, modalities=modalities, device=device)
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
    seconds = measure(torch.device(chosen.device), chosen.pairs, chosen.steps, warm_up=20, threads=chosen.threads)
    print(f"{platform.machine()}, {chosen.device}, {chosen.threads} threads, torch {torch.__version__}")
    print(f"batch {BATCH}, {chosen.pairs} pairs of {chosen.steps} steps")
    for name, column in (("mmdistill", 0), ("by hand", 1), ("by hand again", 2)):
        print(f"{name:>14}: {statistics.median(seconds[:, column]) * 1e3:7.3f} ms a step")
    for name, column in (("mmdistill / by hand", 0), ("by hand again / by hand", 2)):
        middle, low, high = ratio(seconds[:, column], seconds[:, 1], chosen.steps)
        print(f"{name:>24}: {middle:.3f}  [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
