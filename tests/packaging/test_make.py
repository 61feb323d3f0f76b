"""The make targets: what they would do (`make -n`) at each stage of an environment, and what they say of a bad one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mmdistill.errors import InputError

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, env=environment)


@pytest.fixture
def environment(tmp_path) -> Path:
    """A folder that looks to make like an environment without any stamp."""
    (tmp_path / "venv/bin").mkdir(parents=True)
    (tmp_path / "venv/bin/python").touch()
    return tmp_path / "venv"


def stamp(environment: Path, *extras: str, newer: bool = True) -> None:
    written = (ROOT / "pyproject.toml").stat().st_mtime
    for extra in extras:
        path = environment / f".mmdistill-{extra}"
        path.touch()
        os.utime(path, (written + (10 if newer else -10),) * 2)


def installs(target: str, environment: Path, name: str = "any") -> list[str]:
    """The extras that a target would install."""
    done = make("-n", target, f"VENV={environment}", f"NAME={name}")
    assert done.returncode == 0, done.stderr
    return [line.partition("'.[")[2].partition("]'")[0] for line in done.stdout.splitlines() if "pip install" in line]


@pytest.mark.parametrize(("target", "extra"), [("demo", "train"), ("install", "all"), ("test", "test")])
def test_the_first_time_installs_what_the_target_needs_once(environment, target, extra):
    assert installs(target, environment) == [extra]


@pytest.mark.parametrize("target", ["demo", "install", "test", "example", "docs", "benchmarks"])
def test_the_second_time_installs_nothing(environment, target):
    stamp(environment, "train", "all", "test")
    assert installs(target, environment) == []


@pytest.mark.parametrize("folder", sorted((ROOT / "examples").glob("*/")), ids=lambda path: path.name)
def test_an_example_installs_the_libraries_of_its_models(environment, folder):
    files = [*folder.glob("recipe*.yaml"), *folder.glob("run.py")]
    borrowed = any(word in path.read_text() for path in files for word in ("timm:", "transformers:", "backbones"))
    assert installs("example", environment, folder.name) == ["all" if borrowed else "train"]


def test_a_larger_environment_serves_a_smaller_target(environment):
    stamp(environment, "train", "all")
    assert installs("demo", environment) == []
    assert installs("test", environment) == ["test"]


def test_a_changed_project_file_installs_again(environment):
    stamp(environment, "train", "all", "test", newer=False)
    assert installs("demo", environment) == ["train"]


def test_everything_installed_is_stamped():
    text = make("-n", "-B", "test", "VENV=/nowhere").stdout
    assert "touch /nowhere/.mmdistill-train /nowhere/.mmdistill-all /nowhere/.mmdistill-test" in text


def stand_in(folder: Path, body: str) -> Path:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_an_unsuitable_python_is_refused_by_version(tmp_path):
    done = make("install", f"VENV={tmp_path / 'venv'}", f"PYTHON={stand_in(tmp_path, 'exit 1')}")
    assert done.returncode != 0
    assert "needs Python 3.11 to 3.13" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_without_venv_or_pip_is_told_what_to_install(tmp_path):
    python = stand_in(tmp_path, 'case "$1" in -c) exit 0;; *) exit 1;; esac')
    done = make("demo", f"VENV={tmp_path / 'venv'}", f"PYTHON={python}")
    assert done.returncode != 0
    assert "python3-venv" in done.stderr


def test_an_environment_that_pip_is_missing_from_is_not_taken_for_a_whole_one(tmp_path):
    target = tmp_path / "venv/bin/python"
    make_venv = f'mkdir -p {target.parent}; printf "#!/bin/sh\\nexit 1\\n" > {target}; chmod +x {target}'
    body = f'case "$1" in -c) ;; *) {make_venv};; esac'
    done = make("demo", f"VENV={tmp_path / 'venv'}", f"PYTHON={stand_in(tmp_path, body)}")
    assert done.returncode != 0
    assert "no environment with pip" in done.stderr
    assert not target.exists()


def test_help_lists_every_target():
    text = make().stdout
    for target in ("install", "demo", "test", "example", "docs", "benchmarks", "clean"):
        assert f"make {target}" in text


class TestExamples:
    @pytest.fixture
    def script(self) -> ModuleType:
        specification = importlib.util.spec_from_file_location("run_example", ROOT / "tools/run_example.py")
        assert specification is not None
        assert specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
        return module

    @pytest.fixture
    def examples(self, tmp_path) -> Path:
        for name in (
            "alone/recipe.yaml",
            "many/prepare.py",
            "many/recipe.yaml",
            "many/recipe.mse.yaml",
            "no/README.md",
            "script/run.py",
        ):
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.touch()
        return tmp_path

    def test_prepares_then_runs_the_recipe_and_every_variant_by_name(self, script, examples):
        prepare, *runs = script.commands("many", examples=examples)
        assert prepare == [sys.executable, str(examples / "many/prepare.py")]
        assert [run[1:] for run in runs] == [
            ["run", str(examples / "many/recipe.yaml"), "name=many"],
            ["run", str(examples / "many/recipe.mse.yaml"), "name=many-mse"],
        ]

    def test_a_variant_runs_alone(self, script, examples):
        *_, run = steps = list(script.commands("many", "mse", examples))
        assert len(steps) == 2
        assert run[1:] == ["run", str(examples / "many/recipe.mse.yaml"), "name=many-mse"]

    def test_an_example_without_preparation_only_runs(self, script, examples):
        assert [step[1] for step in script.commands("alone", examples=examples)] == ["run"]

    def test_an_example_without_a_recipe_runs_its_script(self, script, examples):
        assert list(script.commands("script", examples=examples)) == [[sys.executable, str(examples / "script/run.py")]]
        with pytest.raises(InputError, match="has no variant 'mse'"):
            list(script.commands("script", "mse", examples))

    @pytest.mark.parametrize(
        ("name", "hint"), [("mani", "Did you mean 'many'"), ("", "Known: alone, many, script"), ("no", "Known")]
    )
    def test_an_unknown_name_is_answered_with_known_ones(self, script, examples, name, hint):
        with pytest.raises(InputError, match=hint):
            list(script.commands(name, examples=examples))

    def test_an_unknown_variant_is_answered_with_known_ones(self, script, examples):
        with pytest.raises(InputError, match=r"has no variant 'msa'.*Did you mean 'mse'"):
            list(script.commands("many", "msa", examples))

    def test_a_name_that_is_a_path_is_no_example(self, script, examples):
        with pytest.raises(InputError, match="is not an example"):
            list(script.commands("../many", examples=examples))


def test_the_continuous_integration_script_is_executable_and_strict():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
