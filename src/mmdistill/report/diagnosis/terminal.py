"""A diagnosis for the terminal: modalities, teacher, expected gain, and the advice last."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from mmdistill.report.diagnosis import tables
from mmdistill.report.diagnosis.page import advice_by_topic
from mmdistill.report.diagnosis.tables import Found
from mmdistill.report.terminal import TONES, FittedTable


def diagnosis_table(diagnosis: Found) -> RenderableType:
    """The tables that fit a terminal, and the advice.

    Args:
        diagnosis: the content of ``diagnosis.json``.
    """
    shown = [
        tables.column_table(diagnosis, brief=True),
        tables.subset_table(diagnosis),
        tables.teacher_table(diagnosis),
        tables.gain_table(diagnosis),
    ]
    parts: list[RenderableType] = []
    for table in shown:
        if table is not None:
            parts += [FittedTable(table), Text("")]
    for title, found in advice_by_topic(diagnosis).items():
        parts.append(Text(title, style="bold"))
        parts += [Text(f"  {one['sentence']}", style=TONES[one["tone"]]) for one in found]
    return Padding(Group(*parts), (1, 0))
