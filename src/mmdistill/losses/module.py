"""The base of every distillation loss module: typed options, and parts that are made once shapes are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self, TypeAlias

import torch
from torch import Tensor

from mmdistill.losses.options_module import OptionsModule

Shape: TypeAlias = tuple[int | None, ...]
"""Shape of one row of an input; None stands for a length that differs from batch to batch."""


class DistillationLoss(OptionsModule):
    """A distillation loss as a module.

    ``KD(KDOptions(temperature=2.0))`` is what a recipe builds, ``KD(temperature=2.0)`` what one writes by hand. The
    arguments of ``forward`` name what is compared; an objective binds them to taps.

    Args:
        options: typed options of the loss; the defaults when left out.
        values: the options as keywords instead.

    Raises:
        InputError: when a keyword is unknown or a value is out of its range.
    """

    def build(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None = None,
        targets: Tensor | None = None,
        seed: int = 0,
    ) -> Self:
        """Make what the loss learns or remembers, once the shapes of its inputs are known; most losses have none of it.

        An objective calls it when it is built; whoever uses the module by hand calls it once before the first step and
        gives its parameters to an optimiser. Drawing the first weights leaves the process's random state as it was.

        Args:
            shapes: argument → shape of one row of it, such as ``{"student_features": (64,)}``; a tuple of shapes for an
                argument that takes several tensors.
            rows: int64 (N,), the row numbers that training will show; needed by a loss with a memory of rows.
            targets: int64 (N,), their classes, negative where there is none.
            seed: of the first weights and of what the loss draws.

        Returns:
            The module itself.

        Raises:
            InputError: when shapes do not fit, or something that is needed is not given.
        """
        with torch.random.fork_rng(devices=[]):
            # Not `manual_seed`, which would reseed every other device as well.
            torch.default_generator.manual_seed(seed)
            self.make_parts(shapes, rows=rows, targets=targets, seed=seed)
        return self

    def make_parts(
        self,
        shapes: Mapping[str, Shape | tuple[Shape, ...]],
        *,
        rows: Tensor | None,
        targets: Tensor | None,
        seed: int,
    ) -> None:
        """What `build` does in a loss that has parts; first weights come from PyTorch's generator, seeded already."""
