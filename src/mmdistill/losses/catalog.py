"""Registers the distillation losses; each family's entries and options stand in a file of `families`. No torch."""

from mmdistill import catalog
from mmdistill.losses.families import logits

for entry in logits.ENTRIES:
    catalog.register(entry)
