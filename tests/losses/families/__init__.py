"""What each family of losses is tried with, and the recorded cases that it is held to: one file a family."""

from __future__ import annotations

from tests.losses.families import (
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
