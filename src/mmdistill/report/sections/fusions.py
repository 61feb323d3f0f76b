"""Whose fusions the report looks into."""

from __future__ import annotations

from mmdistill.report.foremost import key_models
from mmdistill.report.results import Results


def models_with_a_shown_fusion(results: Results) -> list[str]:
    """Teacher, student and baseline of the verdict; without a student every teacher: their fusions are compared."""
    return key_models(results) if results.student else results.with_role("teacher")
