"""A run that was killed and resumed ends with the same weights as one that was not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .conftest import Command
from .test_run import results, without_times


def start(recipe: Path, root: Path) -> subprocess.Popen[str]:
    command = Path(sys.executable).with_name("mmdistill")
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [str(command), "run", str(recipe), "--runs", str(root), "train.checkpoint.steps=2", "train.epochs=12"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str], seconds: float = 60) -> None:
    """Wait until a file is there, or the process is not."""
    deadline = time.monotonic() + seconds
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def wait_for_work(process: subprocess.Popen[str]) -> None:
    """Wait until the run says its first word: imports are over and a model is being trained."""
    assert process.stdout is not None
    process.stdout.readline()


@pytest.mark.slow
def test_ten_kills_change_nothing(recipe_file: Path, tmp_path: Path) -> None:
    undisturbed = start(recipe_file, tmp_path / "whole")
    wait_for_work(undisturbed)
    began = time.monotonic()
    output, _ = undisturbed.communicate()
    assert undisturbed.returncode == 0, output
    whole_seconds = time.monotonic() - began

    moments = random.Random(0)
    kills = 0
    for _ in range(10):
        process = start(recipe_file, tmp_path / "killed")
        wait_for_work(process)
        try:
            # The clock starts with the work, and a tenth of it at most is done between two kills.
            process.wait(timeout=moments.uniform(0.0, 0.1) * whole_seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills == 10
    last = start(recipe_file, tmp_path / "killed")
    output, _ = last.communicate()
    assert last.returncode == 0, output

    whole, killed = tmp_path / "whole" / "animals", tmp_path / "killed" / "animals"
    weights = sorted(path.relative_to(whole) for path in whole.rglob("model.safetensors"))
    assert len(weights) == 5
    for path in weights:
        assert (whole / path).read_bytes() == (killed / path).read_bytes(), path
    assert without_times(results(whole)) == without_times(results(killed))
    assert not list(killed.rglob("*.part"))


def test_ctrl_c_ends_cleanly_and_says_how_to_go_on(recipe_file: Path, tmp_path: Path, mmdistill: Command) -> None:
    process = start(recipe_file, tmp_path / "runs")
    wait_for(tmp_path / "runs" / "animals" / "teacher" / "seed-0", process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the run ended before the signal came")
    assert process.returncode in (1, 130)
    assert "Traceback" not in output
    assert "again" in output
    done = mmdistill(
        "run", recipe_file, "--runs", tmp_path / "runs", "train.checkpoint.steps=2", "train.epochs=12", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["name"] == "animals"
