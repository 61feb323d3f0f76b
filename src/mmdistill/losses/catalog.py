"""Registers the distillation losses; each family's entries and options stand in a file of `families`. No torch."""

from mmdistill import catalog
from mmdistill.losses.families import (
    contrastive,
    divergences,
    features,
    hidden_states,
    logits,
    maps,
    modalities,
    relations,
    structured_logits,
    task_outputs,
    truncated_logits,
)

FAMILIES = (
    logits,
    divergences,
    structured_logits,
    truncated_logits,
    task_outputs,
    features,
    hidden_states,
    maps,
    relations,
    contrastive,
    modalities,
)

for family in FAMILIES:
    for entry in family.ENTRIES:
        catalog.register(entry)
