"""What an audit says: findings for people, facts for both people and programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning", "info"]
LEVELS: tuple[Level, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Finding:
    """One thing that an audit noticed.

    Args:
        level: ``error``: a run would fail or its scores would mean nothing; ``warning``: likely a mistake;
            ``info``: worth knowing.
        code: short name of the kind of finding, the same in every version: ``target-leak``.
        where: column, split or key.
        message: what was seen, a sentence.
        fix: what the user can do, a sentence; may be empty.
    """

    level: Level
    code: str
    where: str
    message: str
    fix: str = ""


@dataclass
class Audit:
    """What is known about a table before training.

    Args:
        table: name of the table.
        rows: rows of the table.
        checked: rows whose cells were read; fewer than `rows` under a limit.
        facts: JSON-able figures: ``splits``, ``columns``, ``targets``, ``duplicates``, ``single_column_scores``.
        findings: errors first, then warnings, then the rest.
    """

    table: str
    rows: int
    checked: int
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """The findings that stand in the way of a run."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """The findings that are likely mistakes."""
        return [finding for finding in self.findings if finding.level == "warning"]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON data."""
        return {
            "format": 1,
            "table": self.table,
            "rows": self.rows,
            "checked": self.checked,
            **self.facts,
            "findings": [asdict(finding) for finding in self.findings],
            "errors": len(self.errors),
            "warnings": len(self.warnings),
        }


def share(part: int, whole: int) -> str:
    """``31 of 1,011 (3.1 %)``."""
    return f"{part:,} of {whole:,} ({100 * part / max(whole, 1):.1f} %)"


def listed(values: list[str], most: int = 5) -> str:
    """The first few values in quotes, and how many more there are."""
    shown = ", ".join(repr(value) for value in values[:most])
    return f"{shown} and {len(values) - most:,} more" if len(values) > most else shown
