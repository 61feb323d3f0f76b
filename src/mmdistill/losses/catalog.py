"""Registers the distillation losses; each family's entries and options stand in a file of `families`. No torch."""

from mmdistill import catalog
from mmdistill.losses.families import (
    contrastive,
    divergences,
    features,
    logits,
    maps,
    modalities,
    relations,
    structured_logits,
)

FAMILIES = (logits, divergences, structured_logits, features, maps, relations, contrastive, modalities)

for family in FAMILIES:
    for entry in family.ENTRIES:
        catalog.register(entry)
