"""What the columns of a model share and what each has alone."""

from __future__ import annotations

from typing import Any

from mmdistill.report.results import Results
from mmdistill.report.sections.fusions import models_with_a_shown_fusion


def shown_subspaces(results: Results) -> dict[str, dict[str, Any]]:
    """Model → the subspaces of its first seed, for those that keep shared and private vectors apart.

    Another seed has other axes, so that several cannot be laid over each other.
    """
    found = {name: results.models[name].runs[0].subspaces for name in models_with_a_shown_fusion(results)}
    return {name: spaces.model_dump() for name, spaces in found.items() if spaces is not None}
