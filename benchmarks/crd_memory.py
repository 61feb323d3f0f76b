"""Bytes of the memory banks of `crd`, and the time of a step as the number of rows grows.

    python benchmarks/crd_memory.py [--device cuda] [--rows 10000 100000 1000000] [--negatives 16384] [--rounds 30]

A step is a forward and a backward pass of the loss alone, on a batch of 64 random rows with features of width 256 and
512, embeddings of width 128, targets of 100 classes, and the update of the memory. The sizes take turns step by step,
so that all of them see the same machine. Printed are the bytes of both banks, the median time of a step, and the median
over the rounds of the ratio to the smallest size with a 95 % bootstrap interval. No work of a step grows with the rows;
but a small bank stays in the processor's cache, and the rows of a large one come from memory.
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmdistill.losses import CRD

BATCH, CLASSES, STUDENT, TEACHER, DIMENSION = 64, 100, 256, 512, 128


@dataclass(frozen=True)
class Side:
    """A loss with its memory of some rows, and a step of it."""

    loss: CRD
    rows: int
    student: Tensor
    teacher: Tensor

    def bank_bytes(self) -> int:
        """Bytes of both banks."""
        memory = self.loss.memory
        assert memory is not None
        return memory.student_bank.nbytes + memory.teacher_bank.nbytes

    def step(self) -> None:
        """Forward, backward and update, on random rows."""
        device = self.student.device
        row = torch.randint(self.rows, (BATCH,), device=device)
        self.loss(self.student, self.teacher, row).backward()
        self.loss.zero_grad(set_to_none=True)


def make_side(rows: int, negatives: int, device: torch.device) -> Side:
    """A loss that remembers rows 0 to `rows` − 1."""
    loss = CRD(dimension=DIMENSION, negatives=negatives)
    numbers = torch.arange(rows)
    shapes = {"student_features": (STUDENT,), "teacher_features": (TEACHER,)}
    loss.build(shapes, rows=numbers, targets=numbers % CLASSES)
    student = torch.randn(BATCH, STUDENT, device=device, requires_grad=True)
    return Side(loss.to(device), rows, student, torch.randn(BATCH, TEACHER, device=device))


def timed(side: Side) -> float:
    """Seconds of a step, once all work that was asked for is done."""
    synchronize = torch.cuda.synchronize if side.student.device.type == "cuda" else (lambda: None)
    synchronize()
    began = time.perf_counter()
    side.step()
    synchronize()
    return time.perf_counter() - began


def measure(sides: list[Side], rounds: int, warm_up: int) -> np.ndarray:
    """Seconds, float64 (rounds, sides); the sides take turns in an order that changes."""
    for _ in range(warm_up):
        for side in sides:
            side.step()
    seconds = np.zeros((rounds, len(sides)))
    for index in range(rounds):
        for place in range(len(sides)):
            chosen = (place + index) % len(sides)
            seconds[index, chosen] = timed(sides[chosen])
    return seconds


def interval(values: np.ndarray) -> tuple[float, float]:
    """A 95 % bootstrap interval of the median."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--negatives", type=int, default=16384)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    device = torch.device(given.device)
    # The smallest number of rows sets how many negatives all of them draw: the same work at every size.
    negatives = min(given.negatives, min(given.rows) - 1)
    sides = [make_side(rows, negatives, device) for rows in given.rows]
    name = torch.cuda.get_device_name() if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"PyTorch {torch.__version__} on {name}, batch {BATCH}, {negatives} negatives, {DIMENSION} dimensions, fp16")
    seconds = measure(sides, given.rounds, given.warm_up)
    for index, side in enumerate(sides):
        ratios = seconds[:, index] / seconds[:, 0]
        low, high = interval(ratios)
        middle, step = np.median(ratios), 1e3 * np.median(seconds[:, index])
        banks = f"{side.rows:>9,} rows: banks {side.bank_bytes() / 1e9:.4f} GB"
        print(f"{banks}, step {step:8.2f} ms, ratio {middle:.3f}  [{low:.3f}, {high:.3f}]")


if __name__ == "__main__":
    main()
