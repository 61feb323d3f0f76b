"""Seconds of a distillation epoch on MNIST: the usual script beside mmdistill, taking turns in one process.

    MMDISTILL_DATA=... python benchmarks/distillation_epoch.py [--epochs 2] [--threads 1]

Both sides train the student 784-256-10 from the teacher 784-512-256-10 on all 60,000 images, batch 64, Adam 1e-3, KD at
temperature 4. The usual script reads images through torchvision's dataset, its ToTensor and Normalize and a DataLoader,
and runs the teacher in every step. mmdistill stores the teacher's logits once (the seconds are printed) and gathers
prepared rows; its epochs are those of `fit`, with everything that a run does in a step. "By hand" is the least that can
be done: pixels and the teacher's logits in memory, and the same arithmetic in a bare loop with fused Adam.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from tensordict import TensorDict
from torch import nn
from torch.nn import functional as F

from mmdistill.data.features import features_for
from mmdistill.data.loader import Loader
from mmdistill.data.store import prepare
from mmdistill.data.table import Table
from mmdistill.distill.build import build_objective
from mmdistill.distill.store import stored_teacher
from mmdistill.models.multimodal import build_model
from mmdistill.recipe.schema import ColumnSpec, ComputeSpec, DistillSpec, ModelSpec, TrainSpec
from mmdistill.tasks.cross_entropy import CrossEntropy
from mmdistill.training.accelerator import make_accelerator
from mmdistill.training.loop import fit, total_steps
from mmdistill.training.modalities import ModalityTraining
from mmdistill.training.phase import student_phase

BATCH, TEMPERATURE = 64, 4.0
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    for one, other in itertools.pairwise(widths):
        layers += [nn.Linear(one, other), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def usual_script(raw: Path) -> Callable[[], int]:
    """An epoch as textbook scripts write it; returns its number of steps."""
    from torchvision import datasets, transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    loader = torch.utils.data.DataLoader(datasets.MNIST(str(raw), transform=transform), batch_size=BATCH, shuffle=True)
    teacher, student = mlp(784, 512, 256, 10).eval(), mlp(784, 256, 10)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)

    def epoch() -> int:
        for images, labels in loader:
            with torch.no_grad():
                soft = F.softmax(teacher(images) / TEMPERATURE, dim=1)
            logits = student(images)
            loss = 0.9 * TEMPERATURE**2 * F.kl_div(
                F.log_softmax(logits / TEMPERATURE, dim=1), soft, reduction="batchmean"
            ) + 0.1 * F.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return len(loader)

    return epoch


def by_hand(images: torch.Tensor, labels: torch.Tensor) -> Callable[[], int]:
    """An epoch with everything in memory; returns its number of steps."""
    teacher, student = mlp(784, 512, 256, 10).eval(), mlp(784, 256, 10)
    with torch.no_grad():
        stored = torch.cat([teacher((part.float() - 33.3) / 78.6) for part in images.split(1024)])
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3, fused=True)

    def epoch() -> int:
        batches = torch.randperm(len(images)).split(BATCH)
        for rows in batches:
            logits = student((images[rows].float() - 33.3) / 78.6)
            soft = F.softmax(stored[rows] / TEMPERATURE, dim=1)
            loss = 0.9 * TEMPERATURE**2 * F.kl_div(
                F.log_softmax(logits / TEMPERATURE, dim=1), soft, reduction="batchmean"
            ) + 0.1 * F.cross_entropy(logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return len(batches)

    return epoch


class Turns:
    """Mmdistill's loader; before each of its epochs the other sides have one."""

    def __init__(self, loader: Loader, usual: Callable[[], int], hand: Callable[[], int]) -> None:
        self.loader, self.usual, self.hand = loader, usual, hand
        self.seconds: list[tuple[float, float, float]] = []

    def __len__(self) -> int:
        return len(self.loader)

    def batches(self, epoch: int, start: int = 0) -> Iterator[TensorDict]:
        """An epoch of each side. Denormal numbers count as zero for the last two, as `fit` has it."""
        # `fit` takes denormal numbers as zero; a script that does not say so works with them.
        torch.set_flush_denormal(False)
        began = time.perf_counter()
        steps = self.usual()
        middle = time.perf_counter()
        torch.set_flush_denormal(True)
        assert self.hand() == steps == len(self.loader)
        own = time.perf_counter()
        yield from self.loader.batches(epoch, start)
        self.seconds.append((middle - began, own - middle, time.perf_counter() - own))


def read_mnist(source: Path, raw: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels; the unpacked files are left where torchvision looks for them."""
    folder = raw / "MNIST" / "raw"
    folder.mkdir(parents=True)
    arrays = []
    for name in (*FILES, "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        content = gzip.decompress((source / f"{name}.gz").read_bytes())
        (folder / name).write_bytes(content)
        if name in FILES:
            offset = 16 if "images" in name else 8
            arrays.append(np.frombuffer(content, np.uint8, offset=offset))
    return arrays[0].reshape(-1, 28, 28), arrays[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    source = os.environ.get("MMDISTILL_DATA")
    if not source:
        print("Set MMDISTILL_DATA to the folder that holds mnist/", file=sys.stderr)
        return 2
    torch.set_num_threads(chosen.threads)
    with tempfile.TemporaryDirectory() as temporary:
        images, labels = read_mnist(Path(source) / "mnist", Path(temporary))
        table = Table.of({"image": list(images)})
        features = features_for({"image": ColumnSpec.model_validate({"type": "image", "size": 28, "channels": 1})})
        rows = np.arange(len(images))
        began = time.perf_counter()
        prepared = prepare(table, features, rows, cache=temporary)
        preparation = time.perf_counter() - began
        infos = {"image": prepared.features["image"].info}
        teacher = build_model(_spec([512, 256]), infos, {"digit": 10}, seed=0)
        student = build_model(_spec([256]), infos, {"digit": 10}, seed=1)
        clean = Loader(prepared, {}, rows, 1024, shuffle=False)
        began = time.perf_counter()
        signals = stored_teacher(teacher, ["logits"], clean, folder=Path(temporary) / "signals", identity={})
        storing = time.perf_counter() - began
        train = TrainSpec.model_validate(
            {
                "epochs": chosen.epochs,
                "batch_size": BATCH,
                "optimizer": "adam",
                "schedule": "constant",
                "select": "last",
            }
        )
        loader = Loader(prepared, {"digit": (labels.astype(np.int64), np.ones(len(labels), bool))}, rows, BATCH)
        distill = DistillSpec.model_validate(
            {"losses": [{"name": "kd", "weight": 0.9, "temperature": TEMPERATURE}], "supervised": 0.1}
        )
        objective = build_objective(
            {"digit": CrossEntropy()}, distill, student_taps=student.taps, teacher_taps=teacher.taps,
            total_steps=total_steps(len(loader), train),
        )  # fmt: skip
        hand = by_hand(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)))
        turns = Turns(loader, usual_script(Path(temporary)), hand)
        modalities = ModalityTraining(("image",))
        phase = student_phase("benchmark", student, objective, train, signals=signals, modalities=modalities)
        accelerator = make_accelerator(ComputeSpec(device="cpu", threads=chosen.threads))
        fit(phase, turns, train, accelerator=accelerator, seed=0)
    print(f"{platform.machine()}, cpu, {chosen.threads} threads, torch {torch.__version__}")
    print(f"once: preparation {preparation:.1f} s, teacher's logits {storing:.1f} s")
    print("epoch | usual script (s) | by hand (s) | mmdistill (s) | usual / mmdistill | mmdistill / by hand")
    for number, (usual, hand_seconds, own) in enumerate(turns.seconds, start=1):
        ratios = f"{usual / own:17.2f} | {own / hand_seconds:19.2f}"
        print(f"{number:5} | {usual:16.2f} | {hand_seconds:11.2f} | {own:13.2f} | {ratios}")
    usual, hand_seconds, own = np.median(np.array(turns.seconds), axis=0)
    print(f"medians: usual / mmdistill {usual / own:.2f}, usual / by hand {usual / hand_seconds:.2f}")
    return 0


def _spec(hidden: list[int]) -> ModelSpec:
    return ModelSpec.model_validate({"encoders": {"image": {"name": "mlp", "hidden": hidden}}})


if __name__ == "__main__":
    sys.exit(main())
