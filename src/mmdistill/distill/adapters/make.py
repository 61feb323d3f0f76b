"""From the arguments of a term to its adapters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from mmdistill import catalog
from mmdistill.distill.adapters.fitting import check_axes
from mmdistill.distill.arguments import Argument, Sources, tensor_pairs
from mmdistill.distill.layout import Pair, layout
from mmdistill.errors import InputError
from mmdistill.recipe.schema import Component

WITHOUT_ADAPTER = frozenset({"logits", "attention"})
"""Kinds whose channels mean the same on both sides, or nothing that could be mapped."""
NOT_NAMED = frozenset({"auto", "none"})


def make_adapters(
    component: Component, arguments: Sequence[Argument], sources: Sources, entry: catalog.Entry, *, seed: int
) -> dict[str, list[nn.Module | None]]:
    """Student's argument → an adapter for each of its taps, None where a tap fits; arguments that all fit are left out.

    First weights depend on `seed` alone, and the process's random state is left as it was: so a student starts from the
    same weights as its baseline, which has no adapters.

    Args:
        component: the adapter that a recipe asks for.
        arguments: of the loss.
        sources: taps.
        entry: of the loss; says what has to agree.
        seed: of the first weights.

    Raises:
        InputError: when two shapes cannot be joined, or an adapter is asked for where there is nothing to join.
    """
    make, options = catalog.get("adapter", component.name).load(), component.options("adapter")
    found: dict[str, list[nn.Module | None]] = {}
    pairs = [pair for pair in tensor_pairs(arguments) if pair[0].kind not in WITHOUT_ADAPTER]
    if not pairs and component.name not in NOT_NAMED:
        what = "There are no two features for an adapter to join"
        raise InputError(what, fix="Remove `adapter`, it is for features")
    with torch.random.fork_rng(devices=[]):
        # Not `manual_seed`, which would reseed every other device as well.
        torch.default_generator.manual_seed(seed)
        for student, teacher in pairs:
            adapters = [make(pair, options) for pair in _taps(student, teacher, sources, entry, component.name)]
            if any(adapter is not None for adapter in adapters):
                found[student.name] = adapters
    return found


def _taps(student: Argument, teacher: Argument, sources: Sources, entry: catalog.Entry, adapter: str) -> list[Pair]:
    """What is compared, tap by tap."""
    widths, sizes = bool(getattr(entry, "equal_widths", True)), bool(getattr(entry, "equal_sizes", True))
    compared = widths or sizes or adapter not in NOT_NAMED
    if len(student.keys) != len(teacher.keys):
        if not compared:
            return []
        raise InputError(
            f"The student gives {len(student.keys)} {student.kind} ({', '.join(student.keys)}), the teacher "
            f"{len(teacher.keys)} ({', '.join(teacher.keys)})",
            fix=f"Name as many of both: taps: {{{student.name}: [...], {teacher.name}: [...]}}",
        )
    pairs = []
    shapes = zip(sources.shapes(student), sources.shapes(teacher), strict=True)
    for mine, theirs, (shape, other) in zip(student.keys, teacher.keys, shapes, strict=True):
        pair = Pair(layout(student.kind, mine, shape), layout(teacher.kind, theirs, other), widths, sizes)
        if compared:
            check_axes(pair)
        pairs.append(pair)
    return pairs
