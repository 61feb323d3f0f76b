"""mmdistill: turn a large multimodal model into a small one that can be shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# The package `distill` first: importing from it later leaves the function of that name in its place.
import mmdistill.distill as _package_of_that_name  # noqa: F401  # isort: skip
from mmdistill.api import distill
from mmdistill.run import run

if TYPE_CHECKING:
    from mmdistill.models.custom.wrap import wrap
    from mmdistill.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["Recipe", "__version__", "distill", "run", "wrap"]


def __getattr__(name: str) -> Any:
    """Load `Recipe` and `wrap` when they are first asked for, so that the import stays light."""
    if name == "wrap":
        from mmdistill.errors import require

        require("torch", "train", "Wrapping a module")
        from mmdistill.models.custom.wrap import wrap

        return wrap
    if name == "Recipe":
        from mmdistill.recipe import Recipe

        return Recipe
    raise AttributeError(f"module 'mmdistill' has no attribute {name!r}")
