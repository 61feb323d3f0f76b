"""mmdistill: turn a large multimodal model into a small one that can be shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmdistill.run import run

if TYPE_CHECKING:
    from mmdistill.recipe import Recipe

__version__ = "0.1.0"
__all__ = ["Recipe", "__version__", "run"]


def __getattr__(name: str) -> Any:
    """Load `Recipe` when it is first asked for, so that the import stays light."""
    if name == "Recipe":
        from mmdistill.recipe import Recipe

        return Recipe
    raise AttributeError(f"module 'mmdistill' has no attribute {name!r}")
