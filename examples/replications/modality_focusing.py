"""When does a teacher of another modality help? The Gaussian data of the modality focusing hypothesis.

Xue, Gao, Ren, Zhao, "The Modality Focusing Hypothesis: Towards Understanding Crossmodal Knowledge Distillation",
ICLR 2023, arXiv:2206.06487, section 4 and the appendix. Two questions:

1. Teacher and student see different inputs, of which a part decides the class. How does what distillation brings depend
   on how much of the deciding part both see?
2. Does a teacher that is kept to what both see teach better than one that also uses what the student cannot see?
   Algorithm 1 finds those inputs without being told.

Run it with ``python examples/replications/modality_focusing.py``. Everything is drawn from the seeds 0 to 9. The models
of all seeds are trained side by side: each is a linear classifier of its own, and the loss is the sum over them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mmdistill.losses import KD, functional
from mmdistill.losses.modality_focusing import modality_saliency, most_salient

TRAIN_ROWS, TEST_ROWS = 200, 1000
STEPS, LEARNING_RATE = 1000, 0.1
DECISIVE = 10
"""Deciding inputs of the student, and of the teacher in the first question."""
TEACHER_INPUTS, STUDENT_INPUTS, INPUTS = 25, 50, 50
OVERLAPS = (0, 2, 4, 6, 8, 10)
SHARED = (5, 10, 20, 30)
PERMUTATIONS = 20
KD_WEIGHT = 0.5
"""The authors' code averages the divergence over the two classes as well."""

REFERENCE_DIFFERENCES = {0: -0.71, 2: -0.45, 4: -0.34, 6: 0.24, 8: 1.53, 10: 2.50}
"""Overlap → KD minus no KD, in points."""
REFERENCE_ALONE = 69.41
REFERENCE_TEACHERS = {
    5: (61.98, 62.16, 64.50),
    10: (67.64, 67.86, 70.25),
    20: (73.48, 73.60, 75.43),
    30: (76.46, 76.53, 77.70),
}
"""Shared inputs → accuracy without KD, with the regular teacher, with a modality-general one."""


@dataclass(frozen=True)
class Pairs:
    """What teacher and student see of the same rows, for each seed.

    Args:
        teacher: (seeds, rows, inputs of the teacher).
        student: (seeds, rows, inputs of the student).
        target: int64 (seeds, rows), 0 or 1.
    """

    teacher: Tensor
    student: Tensor
    target: Tensor


Draw = Callable[[np.random.RandomState, NDArray[np.float64], int], tuple[NDArray[np.float64], ...]]
"""From (random numbers, hyperplane, rows) to what teacher and student see and the truth of the class."""


def stack(drawn: Sequence[tuple[NDArray[np.float64], ...]]) -> Pairs:
    """The rows of several seeds as tensors."""
    teacher, student, target = (np.stack(part) for part in zip(*drawn, strict=True))
    return Pairs(torch.tensor(teacher).float(), torch.tensor(student).float(), torch.tensor(target).long())


def overlapping(overlap: int) -> Draw:
    """20 deciding inputs; the student sees the first 10, the teacher 10 of which `overlap` are the student's too."""

    def draw(random: np.random.RandomState, plane: NDArray[np.float64], rows: int) -> tuple[NDArray[np.float64], ...]:
        decisive = random.randn(rows, 2 * DECISIVE)
        student, teacher = random.randn(rows, STUDENT_INPUTS), random.randn(rows, TEACHER_INPUTS)
        student[:, :DECISIVE] = decisive[:, :DECISIVE]
        seen = slice(DECISIVE - overlap, 2 * DECISIVE - overlap)
        teacher[:, seen] = decisive[:, seen]
        return teacher, student, decisive @ plane[: 2 * DECISIVE] > 0

    return draw


def sharing(shared: int) -> Draw:
    """10 + `shared` deciding inputs, which the teacher sees all and the student the first `shared` of."""

    def draw(random: np.random.RandomState, plane: NDArray[np.float64], rows: int) -> tuple[NDArray[np.float64], ...]:
        decisive = random.randn(rows, DECISIVE + shared)
        teacher, student = random.randn(rows, INPUTS), random.randn(rows, INPUTS)
        teacher[:, : DECISIVE + shared] = decisive
        student[:, :shared] = decisive[:, :shared]
        return teacher, student, decisive @ plane[: DECISIVE + shared] > 0

    return draw


def overlapping_pairs(seeds: Sequence[int], overlap: int) -> tuple[Pairs, Pairs]:
    """Training and test rows of the first question, for a random hyperplane a seed."""
    train, test = [], []
    for seed in seeds:
        random = np.random.RandomState(seed)
        plane = random.randn(500)  # as many as the authors draw, of which the first are used
        train.append(overlapping(overlap)(random, plane, TRAIN_ROWS))
        test.append(overlapping(overlap)(np.random.RandomState(seed + 1), plane, TEST_ROWS))
    return stack(train), stack(test)


def sharing_pairs(seeds: Sequence[int], shared: int) -> tuple[Pairs, Pairs]:
    """Training and test rows of the second question, in which every deciding input counts the same."""
    plane, draw = np.ones(DECISIVE + shared), sharing(shared)
    train, test = [], []
    for seed in seeds:
        random = np.random.RandomState(seed)
        train.append(draw(random, plane, TRAIN_ROWS))
        test.append(draw(random, plane, TEST_ROWS))
    return stack(train), stack(test)


class LinearClassifiers(nn.Module):
    """A linear classifier a seed, first weights as those of ``nn.Linear``.

    Args:
        inputs: of each.
        generators: a source of random numbers a seed.
    """

    def __init__(self, inputs: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        bound, weights, biases = inputs**-0.5, [], []
        for generator in generators:
            weights.append(torch.empty(2, inputs).uniform_(-bound, bound, generator=generator).T)
            biases.append(torch.empty(1, 2).uniform_(-bound, bound, generator=generator))
        self.weight, self.bias = nn.Parameter(torch.stack(weights)), nn.Parameter(torch.stack(biases))

    def forward(self, inputs: Tensor) -> Tensor:
        """(seeds, rows, inputs) to logits (seeds, rows, 2)."""
        return torch.baddbmm(self.bias, inputs, self.weight)


def train(
    models: LinearClassifiers, inputs: Tensor, target: Tensor, teacher_logits: Tensor | None = None, steps: int = STEPS
) -> LinearClassifiers:
    """Full-batch gradient descent on the targets, and on the teacher where there is one."""
    optimizer = torch.optim.SGD(models.parameters(), lr=LEARNING_RATE)
    kd = KD(temperature=1.0)
    for _ in range(steps):
        logits = models(inputs).flatten(0, 1)
        loss = F.cross_entropy(logits, target.flatten())
        if teacher_logits is not None:
            loss = loss + KD_WEIGHT * kd(logits, teacher_logits.flatten(0, 1))
        optimizer.zero_grad()
        # The mean over the rows of all seeds, times the seeds: the sum of what each model has for itself.
        (loss * len(target)).backward()
        optimizer.step()
    return models


@torch.no_grad()
def accuracy(models: LinearClassifiers, inputs: Tensor, target: Tensor) -> float:
    """Percent of the rows, averaged over the seeds."""
    return 100 * (models(inputs).argmax(dim=-1) == target).double().mean().item()


def effect_of_overlap(seeds: Sequence[int], overlap: int, steps: int = STEPS) -> tuple[float, float, float]:
    """Accuracy of the teacher, of the student alone, and of the student with the teacher."""
    rows, test = overlapping_pairs(seeds, overlap)
    generators = [torch.Generator().manual_seed(seed + 1) for seed in seeds]
    teacher = train(LinearClassifiers(TEACHER_INPUTS, generators), rows.teacher, rows.target, steps=steps)
    said = teacher(rows.teacher).detach()
    taught = train(LinearClassifiers(STUDENT_INPUTS, generators), rows.student, rows.target, said, steps)
    alone = train(LinearClassifiers(STUDENT_INPUTS, generators), rows.student, rows.target, steps=steps)
    return (
        accuracy(teacher, test.teacher, test.target),
        accuracy(alone, test.student, test.target),
        accuracy(taught, test.student, test.target),
    )


def find_shared(
    rows: Pairs, shared: int, generators: Sequence[torch.Generator], steps: int = STEPS, repeats: int = PERMUTATIONS
) -> list[tuple[int, ...]]:
    """Algorithm 1: the teacher's inputs, a tuple a seed, that matter most for agreeing with the student's.

    A model of each is trained on the targets and on the distance between the two outputs; then the teacher's inputs are
    permuted one by one.
    """
    models = [LinearClassifiers(INPUTS, generators) for _ in range(2)]
    parameters = [parameter for model in models for parameter in model.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
    for _ in range(steps):
        first, second = (
            model(side).flatten(0, 1) for model, side in zip(models, (rows.teacher, rows.student), strict=True)
        )
        target = rows.target.flatten()
        loss = F.cross_entropy(first, target) + F.cross_entropy(second, target)
        # Each direction gives one side its gradient; together they are that of the squared distance.
        loss = loss + functional.mse_logits(first, second) + functional.mse_logits(second, first)
        optimizer.zero_grad()
        (loss * len(rows.target)).backward()
        optimizer.step()
    found = []
    with torch.no_grad():
        other = models[1](rows.student)
    for seed, (weight, bias) in enumerate(zip(models[0].weight, models[0].bias, strict=True)):
        saliency = modality_saliency(
            rows.teacher[seed], lambda inputs, w=weight, b=bias: inputs @ w + b, other[seed], repeats=repeats
        )
        found.append(most_salient(saliency, shared))
    return found


@dataclass(frozen=True)
class GeneralTeachers:
    """Accuracies of the student, in percent, and how many of the shared inputs algorithm 1 found, in percent."""

    alone: float
    regular: float
    known: float
    found: float
    found_share: float


def effect_of_generality(seeds: Sequence[int], shared: int, steps: int = STEPS) -> GeneralTeachers:
    """The student alone, with a teacher that sees everything, and with teachers kept to inputs that both see."""
    rows, test = sharing_pairs(seeds, shared)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def student(teacher_inputs: Tensor | None) -> float:
        said = None
        if teacher_inputs is not None:
            teacher = LinearClassifiers(teacher_inputs.shape[-1], generators)
            said = train(teacher, teacher_inputs, rows.target, steps=steps)(teacher_inputs).detach()
        models = train(LinearClassifiers(INPUTS, generators), rows.student, rows.target, said, steps)
        return accuracy(models, test.student, test.target)

    found = find_shared(rows, shared, generators, steps)
    chosen = torch.stack([inputs[:, list(channels)] for inputs, channels in zip(rows.teacher, found, strict=True)])
    right = sum(channel < shared for channels in found for channel in channels)
    return GeneralTeachers(
        alone=student(None),
        regular=student(rows.teacher),
        known=student(rows.teacher[..., :shared]),
        found=student(chosen),
        found_share=100 * right / (shared * len(found)),
    )


def overlap_table(seeds: Sequence[int], steps: int = STEPS) -> list[str]:
    """The first question as lines of a Markdown table."""
    lines = [
        "| gamma | teacher | no KD | KD | KD - no KD | reference |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for overlap in OVERLAPS:
        teacher, alone, taught = effect_of_overlap(seeds, overlap, steps)
        gamma = overlap / (2 * DECISIVE - overlap)
        numbers = f"{teacher:.2f} | {alone:.2f} | {taught:.2f} | {taught - alone:+.2f}"
        lines.append(f"| {gamma:.2f} | {numbers} | {REFERENCE_DIFFERENCES[overlap]:+.2f} |")
    return lines


def generality_table(seeds: Sequence[int], steps: int = STEPS) -> list[str]:
    """The second question as lines of a Markdown table."""
    lines = [
        "| gamma | no KD | regular | general, known | general, found | of the inputs found | reference |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for shared in SHARED:
        scores = effect_of_generality(seeds, shared, steps)
        differences = [
            f"{score:.2f} ({score - scores.alone:+.2f})" for score in (scores.regular, scores.known, scores.found)
        ]
        alone, regular, general = REFERENCE_TEACHERS[shared]
        reference = f"{alone:.2f} / {regular:.2f} ({regular - alone:+.2f}) / {general:.2f} ({general - alone:+.2f})"
        lines.append(
            f"| {shared / (DECISIVE + shared):.2f} | {scores.alone:.2f} | {' | '.join(differences)} | "
            f"{scores.found_share:.0f} % | {reference} |"
        )
    return lines


def main() -> None:
    """Print both tables."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=10, help="how many seeds, from 0 on")
    seeds = range(arguments.parse_args().seeds)
    started = time.perf_counter()
    print(f"Accuracy on {TEST_ROWS} test rows in percent, mean of seeds 0 to {len(seeds) - 1}.\n")
    print(f"1. What the overlap does (reference without KD: {REFERENCE_ALONE}):\n")
    print("\n".join(overlap_table(seeds)), "\n")
    print("2. What a modality-general teacher does (in brackets: minus no KD):\n")
    print("\n".join(generality_table(seeds)), "\n")
    print(f"Took {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
