"""A model that this library did not design: where it comes from, what it reads and which of its outputs are taps."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from mmdistill.recipe.spec import Spec

Source = Literal["factory", "timm", "transformers", "program", "onnx"]
SOURCES: tuple[Source, ...] = ("factory", "timm", "transformers", "program", "onnx")


class CustomSpec(Spec):
    """A model of your own, of timm or of transformers, a saved program or an ONNX file."""

    factory: str | None = Field(
        default=None, description="`package.module:function`; called with `options`, it gives a torch.nn.Module."
    )
    timm: str | None = Field(default=None, description="Name of a timm model.")
    transformers: str | None = Field(default=None, description="Folder or name of a transformers model.")
    program: str | None = Field(default=None, description="File of a saved torch.export program (.pt2).")
    onnx: str | None = Field(default=None, description="An ONNX file; it can teach, and cannot be trained.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the factory, of timm.create_model, or of the configuration."
    )
    pretrained: bool = Field(default=False, description="Load the published weights (timm, transformers).")
    weights: str | None = Field(
        default=None, description="Weights to load: safetensors, or a PyTorch file that `weights_only` accepts."
    )
    inputs: dict[str, str] = Field(
        default_factory=dict,
        description="Argument of the module → array that it gets, such as `x: image` or `input_ids: text.values`; "
        "the one column's values as first argument when left out.",
    )
    taps: dict[str, str] = Field(
        default_factory=dict,
        description="Name of a tap → path of a module whose output it is, such as `fused: backbone.layer4`; `logits` is "
        "what the model gives when left out.",
    )
    classes: list[str] | None = Field(
        default=None, description="The classes in the order of its outputs; this run's order when left out."
    )

    @property
    def source(self) -> Source:
        """Which of the sources is given."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of {', '.join(SOURCES)} is needed, not {' and '.join(given) or 'none'}")
        return self
