"""What the rooms above call a model: of encoders, fusion and heads, or one that was designed elsewhere."""

from __future__ import annotations

from typing import TypeAlias

from mmdistill.models.custom.model import CustomModel
from mmdistill.models.multimodal import MultimodalModel

AnyModel: TypeAlias = MultimodalModel | CustomModel
