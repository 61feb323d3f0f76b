"""A model that this library did not design: where it comes from, what it reads and which of its outputs are taps."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mmdistill.recipe.spec import Spec

Source = Literal["factory", "timm", "transformers", "program", "onnx"]
SOURCES: tuple[Source, ...] = ("factory", "timm", "transformers", "program", "onnx")


def _nothing_is_divided_by_zero(values: list[float]) -> list[float]:
    if not all(value > 0 for value in values):
        raise ValueError("standard deviations are above 0")
    return values


class PixelSpec(Spec):
    """What the pixels that a model reads were standardised with, in units of pixels / 255, one a channel."""

    mean: list[float] = Field(default_factory=lambda: [0.0], min_length=1, description="Mean; one number is for all.")
    std: Annotated[list[float], AfterValidator(_nothing_is_divided_by_zero)] = Field(
        default_factory=lambda: [1.0], min_length=1, description="Standard deviation; one number is for all."
    )


class CustomSpec(Spec):
    """A model of your own, of timm or of transformers, a saved program or an ONNX file."""

    factory: str | None = Field(
        default=None, description="`package.module:function`; called with `options`, it gives a torch.nn.Module."
    )
    timm: str | None = Field(default=None, description="Name of a timm model.")
    transformers: str | None = Field(
        default=None,
        description="Folder or name of a transformers model, or a model_type such as bert, which `options` configure.",
    )
    program: str | None = Field(default=None, description="File of a saved torch.export program (.pt2).")
    onnx: str | None = Field(default=None, description="An ONNX file; it can teach, and cannot be trained.")
    options: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of the factory, of timm.create_model, or of the configuration."
    )
    head: Literal["classification", "none"] | None = Field(
        default=None,
        description="What a timm or transformers model ends with: classification, also when left out, or none, so that "
        "its outputs are features.",
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
    pixels: Literal["unit", "rows"] | PixelSpec | None = Field(
        default=None,
        description="How images are standardised. unit: from 0 to 1; rows: by the statistics of the training rows; or "
        "`mean` and `std` of pixels / 255. Left out: what pretrained weights ask for, rows for new timm and "
        "transformers models, unit for all others.",
    )
    taps: dict[str, str] = Field(
        default_factory=dict,
        description="Name of a tap → path of a module whose output it is, such as `fused: backbone.layer4`, with "
        "`:input` for what it is given and `[element]` for a part of it; `logits` is what the model gives when left "
        "out.",
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

    @model_validator(mode="after")
    def _keys_that_count(self) -> Self:
        library = self.timm is not None or self.transformers is not None
        for key in ("pretrained", "head"):
            if getattr(self, key) and not library:
                raise ValueError(f"`{key}` is for timm and transformers models, not for `{self.source}`")
        if self.onnx is not None and (self.weights is not None or self.options):
            raise ValueError("an ONNX file holds its own weights and takes no options")
        if self.program is not None and self.options:
            raise ValueError("a saved program takes no options")
        return self
