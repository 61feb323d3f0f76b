"""Settings, inputs and recorded cases of the losses in `mmdistill.losses.families.task_outputs`."""

from __future__ import annotations

from tests.losses.golden_case import GoldenCase
from tests.losses.settings import Inputs, Settings

OPTIONS: Settings = {}

INPUTS: Inputs = {}

GOLDEN: dict[str, GoldenCase] = {}
