"""The losses in the order of the index: a section for each file of `mmdistill.losses.families`."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from mmdistill import catalog
from mmdistill.losses.entry import LossEntry
from mmdistill.losses.families import (
    contrastive,
    divergences,
    features,
    hidden_states,
    logits,
    maps,
    modalities,
    relations,
    shared_private,
    structured_logits,
    task_outputs,
    truncated_logits,
)

SECTIONS: tuple[tuple[str, ModuleType], ...] = (
    ("Logits", logits),
    ("Other divergences between logits", divergences),
    ("Levels, rankings, a learned temperature", structured_logits),
    ("The teacher's largest logits", truncated_logits),
    ("Outputs that are not one class a row", task_outputs),
    ("Features", features),
    ("Hidden states and attention", hidden_states),
    ("Maps and stages", maps),
    ("Relations between rows", relations),
    ("Dual encoders", contrastive),
    ("Across modalities", modalities),
    ("Between the modalities of one model", shared_private),
)


def loss_entries() -> list[LossEntry]:
    """Every registered loss, by name."""
    return [entry for entry in catalog.entries("loss") if isinstance(entry, LossEntry)]


def sections() -> list[tuple[str, Sequence[LossEntry]]]:
    """Heading and losses of each family; a family that hands on the entries of another one lists its own alone."""
    found: list[tuple[str, Sequence[LossEntry]]] = []
    placed: set[str] = set()
    for heading, family in reversed(SECTIONS):
        own = [entry for entry in family.ENTRIES if entry.name not in placed]
        placed |= {entry.name for entry in own}
        found.insert(0, (heading, own))
    missing = sorted({entry.name for entry in loss_entries()} - placed)
    assert not missing, f"docs_pages/families.py has no section for {', '.join(missing)}"
    return found
