"""A proposed recipe as commented YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # which YAML does not read as text
TEACHERS = {"image": "resnet", "text": "bilstm", "audio": "cnn", "tabular": "ft_transformer", "vector": "mlp"}
STUDENTS = {"image": "tiny_cnn", "text": "bag", "audio": "tiny_cnn", "tabular": "mlp", "vector": "mlp"}
SEQUENCE_TEACHER, SEQUENCE_STUDENT = "transformer", "gru"


@dataclass(frozen=True)
class ProposedColumn:
    """A column of the recipe.

    Args:
        key: its name in the recipe.
        type: its modality.
        source: column of the table; None for tabular.
        settings: extraction settings.
        missing: whether some rows have nothing in it.
    """

    key: str
    type: str
    source: str | None
    settings: Mapping[str, Any]
    missing: bool

    @property
    def teacher(self) -> str:
        """Encoder of the teacher."""
        return SEQUENCE_TEACHER if self.settings.get("sequence") else TEACHERS[self.type]

    @property
    def student(self) -> str:
        """Encoder of the student: smaller."""
        return SEQUENCE_STUDENT if self.settings.get("sequence") else STUDENTS[self.type]


@dataclass(frozen=True)
class Proposal:
    """Everything that a first recipe says."""

    name: str
    table: str
    target: str
    target_reason: str
    task: str
    classes: int
    warning: str
    split: list[str]
    columns: list[ProposedColumn]
    student: ProposedColumn
    student_reason: str
    left_out: Mapping[str, str]
    rows: int


def scalar(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def comment(text: str) -> str:
    """Text that is safe behind a ``#``: one line, printable."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def write_recipe(proposal: Proposal) -> str:
    """The recipe as YAML text."""
    lines = [
        "# A first recipe, written by `mmdistill init` from a look at the table. Comments say what was guessed.",
        f"# Next: mmdistill check <this file>, then mmdistill run <this file>. {proposal.rows:,} rows were there.",
        f"name: {scalar(proposal.name)}",
        *_data(proposal),
        f"task: {proposal.task}" + (f"  # {proposal.classes} classes were seen" if proposal.classes else ""),
        *([f"# {comment(proposal.warning)}"] if proposal.warning else []),
        *_teacher(proposal),
        *_student(proposal),
        "distill:",
        "  losses:",
        "    - {name: kd, weight: 1.0, temperature: 4.0}  # see `mmdistill list losses`"
        if proposal.classes
        else "    - {name: mse_logits, weight: 1.0}  # see `mmdistill list losses`",
        *_train(proposal),
        "seeds: [0, 1, 2]  # five or more for a narrow interval",
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _data(proposal: Proposal) -> list[str]:
    lines = [
        "data:",
        f"  table: {scalar(proposal.table)}",
        f"  target: {scalar(proposal.target)}  # {comment(proposal.target_reason)}",
        "  columns:",
    ]
    for column in proposal.columns:
        parts = [f"type: {column.type}"]
        if column.source is not None and column.source != column.key:
            parts.append(f"source: {scalar(column.source)}")
        parts += [f"{key}: {scalar(value)}" for key, value in column.settings.items()]
        note = "  # absent in some rows, which models are told" if column.missing and column.type != "tabular" else ""
        lines.append(f"    {scalar(column.key)}: {{{', '.join(parts)}}}{note}")
    for name, why in proposal.left_out.items():
        lines.append(f"    # left out: {comment(repr(name))} {comment(why)}")
    return [*lines, "  split:", *(f"    {line}" for line in proposal.split)]


def _teacher(proposal: Proposal) -> list[str]:
    encoders = ", ".join(f"{scalar(column.key)}: {column.teacher}" for column in proposal.columns)
    lines = ["teacher:  # reads all columns", f"  encoders: {{{encoders}}}"]
    if len(proposal.columns) > 1:
        lines += ["  fusion: gated", "  modality_dropout: 0.1  # so that it can be asked without one of them"]
    return lines


def _student(proposal: Proposal) -> list[str]:
    column = proposal.student
    return [
        f"student:  # {comment(proposal.student_reason)}",
        f"  encoders: {{{scalar(column.key)}: {column.student}}}",
    ]


def _train(proposal: Proposal) -> list[str]:
    """About 60 to 100 steps an epoch where there are rows for them, batches of 16 to 128."""
    batch = next((size for size in (16, 32, 64) if proposal.rows <= 80 * size), 128)
    return [
        "train:",
        "  epochs: 20",
        f"  batch_size: {batch}",
        "  learning_rate: 0.002",
        "  stop: {patience: 5}  # epochs without a better validation score",
    ]
