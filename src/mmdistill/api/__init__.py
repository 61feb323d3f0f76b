"""Distillation in Python, without a recipe and a table. Imports no torch."""

from __future__ import annotations

from mmdistill.api.distillation import distill

__all__ = ["distill"]
