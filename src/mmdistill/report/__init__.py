"""What a finished run looks like: report, figures, model card, terminal tables."""

from __future__ import annotations

from pathlib import Path


def write_all(run_folder: Path) -> Path:
    """Write the figures, the model card and, last, `report.html` of a finished run; gives the path of the report.

    Raises:
        InputError: when the run folder is not finished or damaged.
        MissingExtra: when the plotting packages are not installed.
    """
    from mmdistill.report.figures.every import write_figures
    from mmdistill.report.model_card import write_model_card
    from mmdistill.report.page import write_report

    write_figures(run_folder)
    write_model_card(run_folder)
    return write_report(run_folder)
