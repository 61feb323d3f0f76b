"""Published implementations beside ours: what is reproduced, by which option, and what differs on purpose.

The cases come from the tests that hold the losses to recorded numbers (`tests.losses.families`).
"""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Mapping
from typing import Any

from docs_pages.families import loss_entries
from docs_pages.markdown import code, link, page, table
from docs_pages.options import flow
from docs_pages.published import PUBLISHED, Published
from docs_pages.references import ROOT

NOT_LOSSES = {
    "lmf__fusion__s1d": "low-rank multimodal fusion: a fusion, not a loss",
    "ogm_ge__coefficients__s1d": "OGM-GE: a modulation of gradients, not a loss",
}


@functools.cache
def recorded_cases() -> Mapping[str, Any]:
    """Case → what the tests say about it: `loss`, and `deviation` where ours differs on purpose."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    families = importlib.import_module("tests.losses.families").FAMILIES
    cases = {name: case for family in families for name, case in family.GOLDEN.items()}
    unknown = sorted(cases.keys() ^ PUBLISHED.keys())
    assert not unknown, f"docs_pages/published.py and tests/losses/families do not both name {', '.join(unknown)}"
    return cases


def deviations_page() -> str:
    """Every recorded case, by how ours stands to it."""
    cases = recorded_cases()
    on_purpose = {name: case for name, case in cases.items() if case.deviation}
    optional = [name for name in cases if name not in on_purpose and PUBLISHED[name].options]
    plain = [name for name in cases if name not in on_purpose and not PUBLISHED[name].options]
    return page(
        "# Published implementations and ours",
        f"{len(cases) + len(NOT_LOSSES)} runs of published code were recorded: inputs, loss and gradients of the "
        "unchanged functions. The tests hold our losses to them, number by number (loss to 1e-7 and gradients to 1e-5 "
        "in float64, unless the source itself computes in float32 or adds a small constant). A recorded run defines "
        "what its *source* computes, not what is right: sources disagree with each other and with their papers. Where "
        "they do, ours follows the paper, and a form that people use is there by the name of an option.",
        f"- [{len(on_purpose)} differ on purpose](#differ-on-purpose), each held by a test that they do\n"
        f"- [{len(optional)} are given by an option](#given-by-an-option) that is not the default\n"
        f"- [{len(plain)} are given as they are](#given-as-they-are), up to numbers such as the temperature\n"
        f"- [{len(NOT_LOSSES)} are no losses](#no-losses)",
        "## Differ on purpose",
        table(
            ("recorded case", "source", "our loss", "what the source does, and what the paper and ours do"),
            [(*_case(name), _loss(case.loss), case.deviation) for name, case in on_purpose.items()],
        ),
        "## Given by an option",
        "The meaning of an option's values says whose form each is.",
        table(
            ("our loss", "recorded case", "source", "options", "what the forms are"),
            [(_loss(cases[name].loss), *_case(name), *_options(cases[name].loss, name)) for name in optional],
        ),
        "## Given as they are",
        table(
            ("our loss", "recorded case", "source", "beside it"),
            [(_loss(cases[name].loss), *_case(name), PUBLISHED[name].remark) for name in plain],
        ),
        "## No losses",
        table(("recorded case", "what it is"), [(code(name), what) for name, what in NOT_LOSSES.items()]),
    )


def recorded_section(loss: str) -> str:
    """The recorded cases of a loss as a list, for its own page."""
    lines = []
    for name, case in recorded_cases().items():
        if case.loss != loss:
            continue
        published = PUBLISHED[name]
        how = "differs on purpose" if case.deviation else f"with {_written(published)}" if published.options else ""
        lines.append(f"- {code(name)}: {_source(published)}{', ' * bool(how)}{how}")
    if not lines:
        return (
            "No run of published code was recorded for it; the common suite of all losses and tests of its own hold it."
        )
    return "\n".join([*lines, "", f"More on {link('recorded runs', 'deviations.md')}."])


def _case(name: str) -> tuple[str, str]:
    return code(name), _source(PUBLISHED[name])


def _source(published: Published) -> str:
    return f"{link(published.repository, f'https://github.com/{published.repository}')}, {code(published.symbol)}"


def _loss(name: str) -> str:
    return link(code(name), f"{name}.md")


def _written(published: Published) -> str:
    return ", ".join(code(f"{key}: {flow(value)}") for key, value in published.options.items())


def _options(loss: str, name: str) -> tuple[str, str]:
    """The options of a case, and what they mean."""
    published = PUBLISHED[name]
    fields = next(entry for entry in loss_entries() if entry.name == loss).options.model_fields
    meanings = [f"{code(key)}: {fields[key].description}" for key in published.options]
    return _written(published), " ".join([*meanings, published.remark]).strip()
