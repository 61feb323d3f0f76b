"""Reference pages of what stands around a loss: its transforms, sample weights, adapters and weight; who teaches."""

from __future__ import annotations

import inspect
import re
from typing import get_args

from docs_pages.docstrings import source_of, without_arguments
from docs_pages.markdown import code, fenced, link, page, prose, table
from docs_pages.options import flow, options_table
from docs_pages.references import linked
from mmdistill import catalog
from mmdistill.catalog import Entry
from mmdistill.distill.schedules import weight_schedule
from mmdistill.losses.transforms.catalog import TransformEntry
from mmdistill.recipe.loss_weight import LossWeight, WeightShape

STEPS = 1000
LINKS = {
    "LossTerm": link("terms", "recipe.md#distilllosses"),
    "LossWeight": link("a weight that changes", "recipe.md#a-weight-that-changes"),
}
TELLING = ("sample weight", "combination")
"""Kinds of which the code that is named describes the component, and does not only make it."""


def terms_page() -> str:
    """Transforms, sample weights, adapters and weights of a term."""
    return page(
        "# Parts of a loss term",
        "What an entry of `distill.losses` may have beside its loss. How they work together is in the [guide to "
        "objectives](../objectives.md); the keys are in [the recipe](recipe.md#distilllosses).",
        *_group(
            "Transforms",
            "transform",
            "`transforms` lists what is done to the logits of both sides before the loss sees them, in this order. "
            "They compose with every loss that has `student_logits` and `teacher_logits`.",
            "distill:\n  losses:\n    - {name: kd, weight: 9, temperature: 2, transforms: [standardise]}",
        ),
        *_group(
            "Sample weights",
            "sample weight",
            "`sample_weight` names what makes some rows count more than others; several multiply. They carry no "
            "gradient, and compose with every loss that takes `weight`.",
            "distill:\n  losses:\n    - {name: kd, sample_weight: [teacher_is_right, {name: confidence, power: 2}]}",
        ),
        *_group(
            "Adapters",
            "adapter",
            "`adapter` brings the student's features to the shape of the teacher's. Adapters are trained with the "
            "student and dropped at the end. A tap that fits gets none.",
            "distill:\n  losses:\n    - {name: fitnets, weight: 10, adapter: {name: mlp, hidden: 128}}",
        ),
        *_weights(),
    )


def policies_page() -> str:
    """Combinations of teachers, and policies."""
    return page(
        "# Combinations and policies",
        "Who teaches, and how several teachers become one. The [guide to teachers](../teachers.md) has a recipe for "
        "each case; the keys are in [the recipe](recipe.md#distill).",
        *_group(
            "Policies",
            "policy",
            "`distill.policy` says who teaches.",
            "distill:\n  losses: [kd]\n  policy: {name: own_past, decay: 0.99}",
        ),
        *_group(
            "Combinations",
            "combination",
            "`distill.combine` says how the logits of several teachers become one: their probabilities are mixed, each "
            "combination with weights of its own, and the logarithm of the mixture is what losses see as "
            "`teacher_logits`. Other outputs stay with their teacher, as the tap `<teacher>:<tap>`.",
            "distill:\n  losses: [kd]\n  combine: {name: confidence, temperature: 1}",
        ),
    )


def _group(title: str, kind: str, introduction: str, example: str) -> list[str]:
    """All components of one kind."""
    entries = catalog.entries(kind)
    sections = [page(f"### {code(one.name)}", *_described(one), options_table(one.options, LINKS)) for one in entries]
    return [f"## {title}", introduction, fenced(example, "yaml"), *sections]


def _described(entry: Entry) -> list[str]:
    """What an entry and the code that it names say about it."""
    summary = entry.summary if entry.summary.endswith(".") else f"{entry.summary}."
    parts = [summary]
    if isinstance(entry, TransformEntry):
        facts = [("source", linked(entry.paper)), ("when to use it", entry.when), ("cost of a step", entry.cost)]
        return [*parts, fenced(entry.equation, "math"), table(("", ""), facts)]
    found = source_of(entry.target)
    if found is None or entry.kind == "policy":
        return parts
    described = without_arguments(found.docstring)
    parts += [described] * (entry.kind in TELLING and described not in parts)
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(found.module_docstring))
    sources = [paragraph for paragraph in paragraphs[1:] if "arXiv" in paragraph]
    return [*parts, *(f"Source: {linked(prose(' '.join(paragraph.split())))}" for paragraph in sources)]


def _weights() -> list[str]:
    """The shapes of a weight, with what each is at some moments of a training."""
    moments = (0.0, 0.25, 0.5, 0.75, 1.0)
    rows = []
    for shape in get_args(WeightShape):
        weight = LossWeight.model_validate(_changing(shape))
        at = weight_schedule(weight, STEPS, "weight")
        written = flow(weight.model_dump(exclude_unset=True))
        rows.append((code(shape), code(written), *(f"{at(int(moment * STEPS)):.2f}" for moment in moments)))
    return [
        "## Weights that change",
        f"`weight`, of a term or of `supervised`, is a number or a shape over the training; the keys are {_keys()}. "
        "What the shapes give at the beginning, after each quarter and at the end:",
        table(("shape", "written", *(f"{moment:.0%}" for moment in moments)), rows),
        "`unit` counts fractions of all optimiser steps, steps, or epochs. A training in stages counts each stage "
        "anew.",
    ]


def _keys() -> str:
    return link("in the recipe", "recipe.md#a-weight-that-changes")


def _changing(shape: str) -> dict[str, object]:
    """A weight from 0 to 1 between a quarter and three quarters of the training, as far as the shape has these."""
    keys: dict[str, object] = {"shape": shape, "end": 1.0}
    if shape != "constant":
        keys["begin"] = 0.25
    if shape not in ("constant", "step", "only_after"):
        keys["until"] = 0.75
    return keys
