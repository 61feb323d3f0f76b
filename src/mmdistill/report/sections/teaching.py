"""What taught each student: the share that every loss term had in the gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mmdistill.report import numbers
from mmdistill.report.figures.palette import styles
from mmdistill.report.run_folder import History, RunFolder, gradient_column
from mmdistill.report.table import Cell, Column, Row, Table

DEAD = 0.01
"""A term whose share of the gradient never reaches this is called dead."""
DOMINATING = 0.95
"""A term whose mean share of the gradient is above this leaves nothing to the others."""
_TOTALS = ("loss", "total")


@dataclass(frozen=True)
class Share:
    """The share of one term in the sum of the gradient norms of all terms, over steps and seeds, from 0 to 1."""

    lowest: float
    mean: float
    highest: float


def taught(run: RunFolder) -> dict[str, list[str]]:
    """Model → its terms, for models with several of which gradients were measured."""
    found = {}
    for name in run.results.ordered:
        histories = run.histories.get(name, {})
        terms = list(dict.fromkeys(term for history in histories.values() for term in history.terms()))
        terms = [term for term in terms if term not in _TOTALS]
        if len(terms) > 1 and all(gradient_shares(histories, terms).values()):
            found[name] = terms
    return found


def gradient_shares(histories: Mapping[int, History], terms: list[str]) -> dict[str, Share | None]:
    """The share of each term; None where nothing was measured."""
    each: dict[str, list[float]] = {term: [] for term in terms}
    for history in histories.values():
        columns = [history.columns.get(gradient_column(term), []) for term in terms]
        for norms in zip(*columns, strict=False):
            total = math.fsum(norms)
            if math.isfinite(total) and total > 0:
                for term, norm in zip(terms, norms, strict=True):
                    each[term].append(norm / total)
    return {
        term: Share(min(values), math.fsum(values) / len(values), max(values)) if values else None
        for term, values in each.items()
    }


def teaching_summary(run: RunFolder) -> str:
    """A sentence for each term that is dead or leaves nothing to the others, or that there is none."""
    said = []
    for name, terms in taught(run).items():
        for term, share in gradient_shares(run.histories[name], terms).items():
            assert share is not None
            if share.highest == 0:
                said.append(
                    f"For {run.results.label(name)} the term {term} had no gradient whenever that was measured: it "
                    "does not reach the weights, or its own weight was still zero."
                )
            elif share.highest < DEAD:
                said.append(
                    f"For {run.results.label(name)} the term {term} was dead: it never had more than "
                    f"{numbers.percent(share.highest)} of the gradient. Raise its weight or leave it out."
                )
            elif share.mean > DOMINATING:
                said.append(
                    f"For {run.results.label(name)} the term {term} had {numbers.percent(share.mean)} of the gradient: "
                    "the others hardly counted."
                )
    if said:
        return " ".join(said)
    return "Every term had its share of the gradient: none was dead, and none left nothing to the others."


def teaching_table(run: RunFolder) -> Table | None:
    """One row a model and term, or None when no model has several terms."""
    rows = []
    for name, terms in taught(run).items():
        for term, share in gradient_shares(run.histories[name], terms).items():
            assert share is not None
            shares = [Cell(numbers.percent(value), value) for value in (share.mean, share.lowest, share.highest)]
            cells = [Cell(run.results.label(name)), Cell(term), *shares]
            rows.append(Row(cells, styles(run.results)[name].colour))
    if not rows:
        return None
    columns = [
        Column("Model", text=True),
        Column("Term", text=True),
        Column("Share of the gradient"),
        Column("Lowest"),
        Column("Highest"),
    ]
    notes = [
        "The norm of a term's gradient over the model's weights, of the sum of all terms' norms; measured now and "
        "then while training, weights included."
    ]
    return Table("What each term pulled", columns, rows, notes)
