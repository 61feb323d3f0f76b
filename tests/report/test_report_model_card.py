"""The model card is a valid card of the Hugging Face Hub whose figures are those of results.json."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from fake_runs import RECIPE, VARIANTS, FakeRun, Sketch, helped, no_baseline, one_seed
from ruamel.yaml import YAML

from mmdistill.report.model_card import write_model_card


def card_of(run: FakeRun, folder: Path) -> tuple[dict[str, Any], str]:
    text = write_model_card(run.write(folder)).read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    return YAML(typ="safe").load(front), body


@pytest.mark.parametrize("variant", VARIANTS)
def test_metrics_of_the_model_index_are_means_over_seeds(tmp_path: Path, variant: str) -> None:
    run = VARIANTS[variant]()
    front, body = card_of(run, tmp_path / "run")
    runs = run.results()["models"]["student"]["runs"]
    metrics = {each["type"]: each["value"] for each in front["model-index"][0]["results"][0]["metrics"]}
    assert metrics == pytest.approx(
        {metric: statistics.fmean(each["metrics"][metric] for each in runs) for metric in runs[0]["metrics"]}
    )
    assert front["library_name"] == "mmdistill"
    assert "knowledge-distillation" in front["tags"]
    assert "license" not in front, "a licence that nobody stated is not made up"
    assert "## Limits" in body
    assert "load_model" in body


def test_the_hub_reads_the_card(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")
    write_model_card(helped().write(tmp_path / "run"))
    card = hub.ModelCard.load(tmp_path / "run" / "README.md")
    assert card.data.pipeline_tag == "audio-classification"
    results = card.data.eval_results
    assert results[0].metric_type == "accuracy"
    assert results[0].dataset_name == "digits"


def test_what_limits_the_claim_is_said(tmp_path: Path) -> None:
    _, alone = card_of(one_seed(), tmp_path / "one")
    assert "One seed only" in alone
    _, unpaired = card_of(no_baseline(), tmp_path / "none")
    assert "No gain can be claimed" in unpaired


@pytest.mark.parametrize(
    ("table", "dataset", "datasets"),
    [
        ("hf://owner/name", "owner/name", ["owner/name"]),
        ("/home/someone/secret/reviews.csv", "reviews.csv", None),
        (r"C:\data\reviews.csv", "reviews.csv", None),
    ],
)
def test_the_data_set_is_named_without_its_folder(tmp_path: Path, table: str, dataset: str, datasets: Any) -> None:
    recipe = RECIPE.replace("table: digits", f"table: '{table}'")
    front, body = card_of(FakeRun(recipe=recipe), tmp_path / "run")
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == dataset
    assert front.get("datasets") == datasets
    assert "secret" not in str(front) + body


def test_text_of_users_stays_text(tmp_path: Path) -> None:
    name = 'a: "b" | <script>x</script>\n---\nlicense: mit'
    run = FakeRun(name=name, recipe="[not, a: recipe")
    run.models["student"] = Sketch("student", 0.87, ["a|b"], 48_210, "Student | *best*")
    front, body = card_of(run, tmp_path / "run")
    assert front["model-index"][0]["name"] == name
    assert "license" not in front
    assert "<script>" not in body.replace(r"\<script\>", "")
    rows = [line for line in body.split("## Data")[0].splitlines() if line.startswith("|")]
    widths = {line.replace(r"\|", "").count("|") for line in rows[:6]}
    assert len(widths) == 1, "a pipe in a name does not open a cell"
