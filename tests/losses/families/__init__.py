"""What each family of losses is tried with, and the recorded cases that it is held to: one file a family."""

from __future__ import annotations

from tests.losses.families import (
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
