"""Reference page of what happens to the columns of a model: what stands in, what is hidden, what is balanced."""

from __future__ import annotations

from docs_pages.components import small
from docs_pages.markdown import fenced, page
from mmdistill import catalog

KINDS = (
    (
        "Strategies for missing columns",
        "missing strategy",
        "`missing` of a teacher or a student says what stands in for a column that a row lacks, between the encoders "
        "and the fusion.",
        "teacher:\n  encoders: {image: cnn, sound: cnn}\n  missing: learned_token",
    ),
    (
        "Modality dropout",
        "modality dropout",
        "`modality_dropout` says which columns of a row are hidden from a model while it learns; its teacher always "
        "sees all. A number is the chance of `independent`.",
        "student:\n  encoders: {image: tiny_cnn, sound: tiny_cnn}\n  modality_dropout: uniform",
    ),
    (
        "Balance",
        "modality balance",
        "`modality_balance` names one or several methods that keep one column from drowning out the others while a "
        "model learns.",
        "teacher:\n  encoders: {image: cnn, sound: cnn}\n  modality_balance: ogm_ge",
    ),
)


def modalities_page() -> str:
    """Strategies, dropout and balance."""
    parts = ["# Modalities", "How models of several columns do with fewer of them. The guide is [here](../missing.md)."]
    for heading, kind, introduction, example in KINDS:
        parts += [f"## {heading}", introduction, fenced(example, "yaml")]
        parts += [small(entry) for entry in catalog.entries(kind)]
    return page(*parts)
