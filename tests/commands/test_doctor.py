"""The doctor tells versions, devices and what is missing, in words that survive the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from mmdistill.doctor import examine, extras, render


def shown(findings: dict[str, Any]) -> str:
    console = Console(width=300)
    with console.capture() as captured:
        console.print(render(findings))
    return captured.get()


def test_findings_name_versions_the_device_and_every_extra() -> None:
    findings = examine()
    assert {"python", "mmdistill", "torch"} <= set(findings["versions"])
    assert findings["device"]["auto"] in {"cpu", "cuda", "mps"}
    assert {"train", "backbones", "hub", "track", "all"} <= set(extras())
    assert extras()["train"] == {"complete": True, "missing": []}


def test_brackets_of_an_extra_are_shown_as_they_are() -> None:
    findings = examine()
    findings["device"] = {"auto": None, "reason": "PyTorch is not installed (pip install 'mmdistill[train]')"}
    findings["extras"] = {"hub": {"complete": False, "missing": ["datasets"]}}
    text = shown(findings)
    assert "pip install 'mmdistill[train]'" in text
    assert "missing datasets: pip install 'mmdistill[hub]'" in text
