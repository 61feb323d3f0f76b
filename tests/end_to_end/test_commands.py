"""The installed command, as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Command


@pytest.mark.slow
def test_run_compare_report_evaluate_and_predict(mmdistill: Command, recipe_file: Path, tmp_path: Path) -> None:
    done = mmdistill("run", recipe_file, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["models"]["student"]["role"] == "student"
    run = tmp_path / "runs" / "animals"
    (run / "report.html").unlink()
    assert mmdistill("report", run).returncode == 0
    assert (run / "report.html").exists()
    assert "Ranked on validation" in mmdistill("compare", run).stdout
    assert json.loads(mmdistill("evaluate", run, "--json").stdout.splitlines()[-1])["models"]["teacher"]
    done = mmdistill("predict", run, tmp_path / "animals.csv", "--output", "out.parquet", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["rows"] == 240


@pytest.mark.slow
def test_init_writes_a_recipe_that_checks_and_runs(mmdistill: Command, recipe_file: Path, tmp_path: Path) -> None:
    done = mmdistill("init", tmp_path / "animals.csv", "--target", "animal", "--output", "first.yaml")
    assert done.returncode == 0, done.stderr
    checked = mmdistill("check", "first.yaml", "--json")
    assert checked.returncode == 0, checked.stderr + checked.stdout
    json.loads(checked.stdout.splitlines()[-1])
    done = mmdistill("run", "first.yaml", "train.epochs=1", "seeds=1")
    assert done.returncode == 0, done.stderr
    assert mmdistill("init", tmp_path / "animals.csv", "--output", "first.yaml").returncode == 2


def test_check_finds_errors_without_training(mmdistill: Command, recipe_file: Path, tmp_path: Path) -> None:
    text = (tmp_path / "animals.csv").read_text().replace(",red,", ",,", 3)
    (tmp_path / "animals.csv").write_text(text)
    done = mmdistill("check", recipe_file, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "animals.csv").write_text(text.replace("0.", "zero.", 1))
    done = mmdistill("check", recipe_file, "--json")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "what",
    [
        "losses",
        "transforms",
        "sample-weights",
        "adapters",
        "combinations",
        "policies",
        "fusions",
        "encoders",
        "tasks",
        "samples",
    ],
)
def test_list_shows_what_a_recipe_can_name(mmdistill: Command, what: str) -> None:
    listed = json.loads(mmdistill("list", what, "--json").stdout.splitlines()[-1])
    assert listed
    assert all(entry["name"] and entry["summary"] for entry in listed)


def test_doctor_cache_and_schema_answer(mmdistill: Command, cache_folder: Path) -> None:
    findings = json.loads(mmdistill("doctor", "--json").stdout.splitlines()[-1])
    assert findings["versions"]["torch"]
    assert findings["device"]["auto"] in {"cpu", "cuda", "mps"}
    assert mmdistill("cache", "--json").returncode == 0
    assert json.loads(mmdistill("schema").stdout)["properties"]["train"]


def test_import_and_help_load_nothing_heavy() -> None:
    names = "('torch', 'pandas', 'pyarrow', 'matplotlib', 'scipy', 'sklearn', 'transformers')"
    heavy = f"[m for m in {names} if m in sys.modules]"
    for line in (
        "import mmdistill",
        "from mmdistill.cli import app",
        "from mmdistill import catalog; catalog.entries()",
    ):
        code = f"import sys; {line}; print({heavy})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]", line


def test_every_command_has_help_with_an_example(mmdistill: Command) -> None:
    for command in [
        "demo",
        "run",
        "init",
        "check",
        "list",
        "compare",
        "report",
        "evaluate",
        "predict",
        "cache",
        "doctor",
    ]:
        done = mmdistill(command, "--help")
        assert done.returncode == 0
        assert "Example" in done.stdout, command


def test_shell_completion_is_offered(mmdistill: Command) -> None:
    script = mmdistill(_MMDISTILL_COMPLETE="source_bash").stdout
    assert "complete" in script
    assert "mmdistill" in script
    assert "--install-completion" in mmdistill("--help").stdout
