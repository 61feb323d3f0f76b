"""Losses between logits through mmdistill beside the same formulas written by hand, in one process.

    python benchmarks/losses.py [--device cuda] [--pairs 30] [--steps 10] [--threads 1] [--only kd dkd]

A step is the loss of 256 rows of 1,000 classes in float32 and its gradient with respect to the student's logits. By
hand is the formula as it is usually published, in plain PyTorch and without weights, masks or checks; both sides must
give the same number. They take turns step by step in an order that changes, and a pair is the median time of some steps
of each; printed are the median times, the median of the ratios over the pairs with a 95 % bootstrap interval, and the
most bytes of tensors that live at once in a step beside the logits (on CUDA, what the allocator reports). The limits
are 1.05 in time and 1.10 in memory.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmdistill import losses
from mmdistill.losses import transforms

ROWS, CLASSES = 256, 1000
TIME_LIMIT, MEMORY_LIMIT = 1.05, 1.10
Loss = Callable[..., Tensor]


def kd(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Forward KL of softened probabilities, times T²."""
    soft = F.softmax(teacher / temperature, dim=1)
    return F.kl_div(F.log_softmax(student / temperature, dim=1), soft, reduction="batchmean") * temperature**2


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    """Cross-entropy against softened probabilities, times T²."""
    soft = F.softmax(teacher / temperature, dim=1)
    return -(soft * F.log_softmax(student / temperature, dim=1)).sum(dim=1).mean() * temperature**2


def mse_logits(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(student, teacher)


def dkd(student: Tensor, teacher: Tensor, target: Tensor, alpha: float = 1.0, beta: float = 8.0) -> Tensor:
    """Target and non-target terms with masks of the one-hot target, as the authors write them; temperature 4."""
    temperature = 4.0
    here = F.one_hot(target, CLASSES).bool()

    def two_way(probabilities: Tensor) -> Tensor:
        rest = (probabilities * ~here).sum(dim=1, keepdim=True)
        return torch.cat(((probabilities * here).sum(dim=1, keepdim=True), rest), dim=1)

    pair = torch.log(two_way(F.softmax(student / temperature, dim=1)))
    target_term = F.kl_div(pair, two_way(F.softmax(teacher / temperature, dim=1)), reduction="batchmean")
    others = F.log_softmax(student / temperature - 1000.0 * here, dim=1)
    soft = F.softmax(teacher / temperature - 1000.0 * here, dim=1)
    return (alpha * target_term + beta * F.kl_div(others, soft, reduction="batchmean")) * temperature**2


def reverse_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL from the student to the teacher."""
    own = F.log_softmax(student, dim=1)
    return F.kl_div(F.log_softmax(teacher, dim=1), own, reduction="batchmean", log_target=True)


def symmetric_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """Half of each direction."""
    own, other = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
    forward = F.kl_div(own, other, reduction="batchmean", log_target=True)
    return 0.5 * forward + 0.5 * F.kl_div(other, own, reduction="batchmean", log_target=True)


def skewed_kl(student: Tensor, teacher: Tensor, skew: float = 0.1) -> Tensor:
    """KL from the teacher to the mixture."""
    soft, own = F.softmax(teacher, dim=1), F.softmax(student, dim=1)
    mixture = torch.log(skew * soft + (1 - skew) * own)
    return F.kl_div(mixture, F.log_softmax(teacher, dim=1), reduction="batchmean", log_target=True)


def skewed_reverse_kl(student: Tensor, teacher: Tensor, skew: float = 0.1) -> Tensor:
    """KL from the student to the mixture."""
    soft, own = F.softmax(teacher, dim=1), F.softmax(student, dim=1)
    mixture = torch.log(skew * own + (1 - skew) * soft)
    return F.kl_div(mixture, F.log_softmax(student, dim=1), reduction="batchmean", log_target=True)


def gjsd(student: Tensor, teacher: Tensor, beta: float = 0.5) -> Tensor:
    """Both sides against their mixture, in logarithms."""
    own, other = F.log_softmax(student, dim=1), F.log_softmax(teacher, dim=1)
    mixture = torch.logsumexp(torch.stack([own + math.log(1 - beta), other + math.log(beta)]), dim=0)
    from_teacher = F.kl_div(mixture, other, reduction="batchmean", log_target=True)
    return beta * from_teacher + (1 - beta) * F.kl_div(mixture, own, reduction="batchmean", log_target=True)


def nkd(student: Tensor, teacher: Tensor, target: Tensor, gamma: float = 1.5) -> Tensor:
    """The target's term and the normalised rest, picked out with a mask, as the authors write them."""
    index = target[:, None]
    sure = F.softmax(teacher, dim=1).gather(1, index)
    target_term = -(sure * F.log_softmax(student, dim=1).gather(1, index)).mean()
    rest = torch.ones_like(student).scatter_(1, index, 0).bool()
    own, other = (side[rest].reshape(ROWS, CLASSES - 1) for side in (student, teacher))
    return target_term - gamma * (F.softmax(other, dim=1) * F.log_softmax(own, dim=1)).sum(dim=1).mean()


def dist(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus Pearson's correlation, over classes and over rows, as the authors write it."""

    def distance(first: Tensor, second: Tensor) -> Tensor:
        first, second = first - first.mean(dim=1, keepdim=True), second - second.mean(dim=1, keepdim=True)
        return 1 - ((first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1) + 1e-8)).mean()

    own, soft = F.softmax(student, dim=1), F.softmax(teacher, dim=1)
    return distance(own, soft) + distance(own.transpose(0, 1), soft.transpose(0, 1))


def wsld(student: Tensor, teacher: Tensor, target: Tensor, temperature: float = 2.0) -> Tensor:
    """Soft cross-entropy with the weight from both hard cross-entropies."""
    hard_student = F.cross_entropy(student.detach(), target, reduction="none")
    hard_teacher = F.cross_entropy(teacher, target, reduction="none")
    weight = 1 - torch.exp(-hard_student / (hard_teacher + 1e-7))
    soft = F.softmax(teacher / temperature, dim=1) * F.log_softmax(student / temperature, dim=1)
    return (weight * -soft.sum(dim=1)).mean() * temperature**2


def ttm(student: Tensor, teacher: Tensor, exponent: float = 0.1) -> Tensor:
    """KL from the power transform of the teacher."""
    powers = F.softmax(teacher, dim=1) ** exponent
    soft = powers / powers.sum(dim=1, keepdim=True)
    return F.kl_div(F.log_softmax(student, dim=1), soft, reduction="none").sum(dim=1).mean()


def wttm(student: Tensor, teacher: Tensor, exponent: float = 0.2) -> Tensor:
    """The same with the sum of the powers as the weight of a row."""
    powers = F.softmax(teacher, dim=1) ** exponent
    total = powers.sum(dim=1, keepdim=True)
    divergence = F.kl_div(F.log_softmax(student, dim=1), powers / total, reduction="none").sum(dim=1)
    return (total.squeeze(1) * divergence).mean()


def standardised_kd(student: Tensor, teacher: Tensor) -> Tensor:
    """kd between logits of mean 0 and standard deviation 1."""

    def standardise(logits: Tensor) -> Tensor:
        return (logits - logits.mean(dim=1, keepdim=True)) / (1e-7 + logits.std(dim=1, keepdim=True))

    return kd(standardise(student), standardise(teacher), temperature=2.0)


class StandardisedKD(nn.Module):
    """kd of a term that lists the transform standardise."""

    def __init__(self) -> None:
        super().__init__()
        self.transform, self.loss = transforms.Standardise(), losses.KD(temperature=2.0)

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """The transform, then the loss."""
        value: Tensor = self.loss(*self.transform(student_logits, teacher_logits))
        return value


CASES: dict[str, tuple[Callable[[], nn.Module], Loss]] = {
    "kd": (losses.KD, kd),
    "soft_cross_entropy": (losses.SoftCrossEntropy, soft_cross_entropy),
    "mse_logits": (losses.MSELogits, mse_logits),
    "dkd": (losses.DKD, dkd),
    "reverse_kl": (losses.ReverseKL, reverse_kl),
    "symmetric_kl": (losses.SymmetricKL, symmetric_kl),
    "skewed_kl": (losses.SkewedKL, skewed_kl),
    "skewed_reverse_kl": (losses.SkewedReverseKL, skewed_reverse_kl),
    "gjsd": (losses.GJSD, gjsd),
    "nkd": (losses.NKD, nkd),
    "dist": (losses.DIST, dist),
    "wsld": (losses.WSLD, wsld),
    "ttm": (losses.TTM, ttm),
    "wttm": (losses.WTTM, wttm),
    "standardise + kd": (StandardisedKD, standardised_kd),
}
WITH_TARGET = ("dkd", "nkd", "wsld")


@dataclass(frozen=True)
class Measured:
    """Median seconds of a step and peak bytes of ours and by hand, and the ratios of the pairs' times."""

    seconds: tuple[float, float]
    peaks: tuple[int, int]
    ratios: np.ndarray

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Median of the ratios over the pairs and its 95 % bootstrap interval."""
        drawn = np.random.default_rng(0).choice(self.ratios, (5000, len(self.ratios)))
        low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
        return float(np.median(self.ratios)), float(low), float(high)

    @property
    def within(self) -> bool:
        """Whether both ratios are within the limits."""
        return self.ratio[0] <= TIME_LIMIT and self.peaks[0] <= MEMORY_LIMIT * self.peaks[1]


def inputs(name: str, device: torch.device) -> list[Tensor]:
    """Logits of a student (a leaf) and a teacher, and the target where the loss needs one."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(ROWS, CLASSES, generator=generator) * 3 for _ in range(2))
    target = torch.randint(0, CLASSES, (ROWS,), generator=generator)
    given = [student.to(device).requires_grad_(), teacher.to(device)]
    return [*given, target.to(device)] if name in WITH_TARGET else given


def step(loss: Loss, given: Sequence[Tensor]) -> None:
    """The loss and the gradient of the student's logits."""
    given[0].grad = None
    loss(*given).backward()


def timed(run: Callable[[], None], device: torch.device) -> float:
    """Seconds until the work is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that operations make while it is entered, until they are freed."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The operation itself; what it gives in new storages is counted."""
        before = {id(value.untyped_storage()) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
        results = func(*args, **(kwargs or {}))
        for value in tree_leaves(results):
            if isinstance(value, Tensor) and id(value.untyped_storage()) not in before:
                self.count(value.untyped_storage())
        return results

    def count(self, storage: torch.UntypedStorage) -> None:
        """Count a storage until it is freed."""
        if storage in self.known:
            return
        self.known.add(storage)
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self.free, size)

    def free(self, size: int) -> None:
        """Take a storage out again."""
        self.live -= size


def peak_bytes(run: Callable[[], None], device: torch.device) -> int:
    """The most bytes that are allocated at once by a step, beyond what was there before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return torch.cuda.max_memory_allocated() - before
    with LiveBytes() as counted:
        run()
    return counted.peak


def measure(name: str, device: torch.device, pairs: int, steps: int, warm_up: int) -> Measured:
    """Both sides of one loss in turns.

    Raises:
        RuntimeError: when they do not give the same number.
    """
    module, by_hand = CASES[name][0]().to(device), CASES[name][1]
    given = inputs(name, device)
    ours, theirs = module(*given).item(), by_hand(*given).item()
    if not math.isclose(ours, theirs, rel_tol=1e-4):
        raise RuntimeError(f"{name} gives {ours}, by hand {theirs}")
    steppers = [partial(step, loss, given) for loss in (module, by_hand)]
    for _ in range(warm_up):
        for run in steppers:
            run()
    peaks = peak_bytes(steppers[0], device), peak_bytes(steppers[1], device)
    seconds = np.zeros((pairs * steps, 2))
    for index in range(len(seconds)):
        for side in (index % 2, 1 - index % 2):
            seconds[index, side] = timed(steppers[side], device)
    blocks = np.median(seconds.reshape(pairs, steps, 2), axis=1)
    middle = np.median(seconds, axis=0)
    return Measured((float(middle[0]), float(middle[1])), peaks, blocks[:, 0] / blocks[:, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--steps", type=int, default=10, help="steps of each side in a pair")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES), metavar="LOSS")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} CPU"
    print(f"{where}, {chosen.threads} threads, torch {torch.__version__}")
    print(f"{ROWS} rows, {CLASSES} classes, forward and backward, {chosen.pairs} pairs of {chosen.steps} steps")
    print(
        f"{'loss':>18}  {'ours ms':>8} {'hand ms':>8}  {'ratio':>5} {'95 %':>14}  {'ours MB':>7} {'hand MB':>7}  limits"
    )
    for name in chosen.only:
        found = measure(name, device, chosen.pairs, chosen.steps, warm_up=10)
        ours, theirs = (value * 1e3 for value in found.seconds)
        middle, low, high = found.ratio
        memory = [value / 1e6 for value in found.peaks]
        print(
            f"{name:>18}  {ours:8.3f} {theirs:8.3f}  {middle:5.3f} [{low:5.3f}, {high:5.3f}]  {memory[0]:7.2f} "
            f"{memory[1]:7.2f}  {'kept' if found.within else 'EXCEEDED'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
