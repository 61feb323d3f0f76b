"""What is installed: the files of the wheel, and what the base package can do without any extra."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path

import pytest

import mmdistill

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

HEAVY = (
    "torch", "tensordict", "accelerate", "safetensors", "torchmetrics", "torchvision", "scipy", "sklearn", "pandas",
    "pyarrow", "matplotlib", "seaborn", "jinja2", "timm", "transformers", "datasets", "tensorboard", "mlflow", "wandb",
)  # fmt: skip


def run_without_extras(code: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run Python code where whatever an extra brings cannot be imported."""
    guard = f"""
        import importlib.abc, sys

        class Absent(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {HEAVY!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, Absent())
    """
    program = textwrap.dedent(guard) + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel; the extra `test` brings it")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    package = ROOT / "src/mmdistill"
    expected = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == expected


@pytest.mark.parametrize("name", ["py.typed", "data/samples/digits.parquet", "data/samples/digits.yaml"])
def test_the_wheel_holds_what_is_not_python(wheel, name):
    assert f"mmdistill/{name}" in wheel.namelist()


def test_the_wheel_carries_licence_and_notice(wheel):
    names = {Path(name).name for name in wheel.namelist() if ".dist-info/licenses/" in name}
    assert names == {"LICENSE", "NOTICE"}


def test_version_and_command_are_those_of_the_project_file(tmp_path):
    assert mmdistill.__version__ == PROJECT["version"]
    assert PROJECT["scripts"] == {"mmdistill": "mmdistill.cli:main"}


def test_all_brings_every_extra_but_those_for_tests():
    extras = PROJECT["optional-dependencies"]
    brought = set(re.search(r"\[(.*)\]", extras["all"][0]).group(1).split(","))
    assert brought | {"train", "all", "test"} == set(extras)
    assert all(f"mmdistill[{extra}]" not in extras["train"] for extra in extras)


def test_catalog_and_recipe_need_only_the_base_package(tmp_path):
    done = run_without_extras(
        """
        from mmdistill import Recipe, catalog
        from mmdistill.data.samples.catalog import demo_recipe

        kinds = set(catalog.kinds())
        assert {"fusion", "loss", "modality", "sample", "task"} <= kinds, kinds
        print(Recipe.load(demo_recipe()).name)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "demo"


def test_every_modality_needs_only_the_base_package(tmp_path):
    done = run_without_extras(
        """
        from mmdistill import catalog

        for entry in catalog.entries("modality"):
            print(entry.name, entry.load().__name__)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["audio", "image", "tabular", "text", "vector"]


def test_a_csv_file_is_read_by_the_base_package_and_parquet_names_its_extra(tmp_path):
    (tmp_path / "table.csv").write_text("text,label\ngood,1\n")
    done = run_without_extras(
        """
        from mmdistill.data.table import read_table
        from mmdistill.errors import MissingExtra

        print(read_table("table.csv").column("text"))
        try:
            read_table("digits").column("note")
        except MissingExtra as error:
            print(error)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("['good']")
    assert "mmdistill[" in done.stdout.splitlines()[1]


def test_help_is_shown_and_training_names_the_extra_without_torch(tmp_path):
    help_text = run_without_extras(
        "import sys; sys.argv = ['mmdistill', '--help']; from mmdistill.cli import main; main()", tmp_path
    )
    assert help_text.returncode == 0, help_text.stderr
    assert "demo" in help_text.stdout
    demo = run_without_extras(
        "import sys; sys.argv = ['mmdistill', 'demo']; from mmdistill.cli import main; main()", tmp_path
    )
    assert demo.returncode == 2
    assert "mmdistill[train]" in " ".join(demo.stderr.split())
    assert not (tmp_path / "runs").exists()


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    code = f"import sys, mmdistill, mmdistill.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
