"""Prepare an example's data and run its recipes: what `make example NAME=…` does.

    python tools/run_example.py av_digits                   prepare.py, recipe.yaml, then every recipe.<variant>.yaml
    python tools/run_example.py article --variant mse       prepare.py, then recipe.mse.yaml alone
    python tools/run_example.py clip_dual_encoder           run.py, of an example that needs no recipe

Runs go to runs/<folder> and runs/<folder>-<variant> at the repository root. What is done already is not done again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from mmdistill.errors import InputError, nearest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


def main() -> int:
    """Exit status of the first step that fails; 0 when all succeed, 2 for a name that is not an example."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="a folder of examples/")
    parser.add_argument("--variant", default="", help="run only recipe.<variant>.yaml")
    arguments = parser.parse_args()
    try:
        steps = list(commands(arguments.name, arguments.variant))
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_status
    for command in steps:
        print("$", " ".join(command), flush=True)
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        if status:
            return status
    return 0


def commands(name: str, variant: str = "", examples: Path = EXAMPLES) -> Iterator[list[str]]:
    """The commands of an example, in order, to be run at the repository root.

    Args:
        name: folder of the example.
        variant: the only variant wanted; every recipe when empty.
        examples: folder of all examples.

    Raises:
        InputError: when there is no such example or variant; the message names the nearest one.
    """
    known = sorted({path.parent.name for file in ("recipe.yaml", "run.py") for path in examples.glob(f"*/{file}")})
    if name not in known:
        raise InputError(
            f"{name!r} is not an example" if name else "No example is named",
            fix=f"{nearest(name, known)} (make example NAME=<folder>)",
        )
    folder = examples / name
    recipes = {"": folder / "recipe.yaml"} if (folder / "recipe.yaml").exists() else {}
    recipes |= {path.name.split(".")[1]: path for path in sorted(folder.glob("recipe.*.yaml"))}
    if variant and variant not in recipes:
        variants = [known for known in recipes if known]
        raise InputError(f"The example {name!r} has no variant {variant!r}", fix=nearest(variant, variants))
    if (folder / "prepare.py").exists():
        yield [sys.executable, str(folder / "prepare.py")]
    if (folder / "run.py").exists() and not variant:
        yield [sys.executable, str(folder / "run.py")]
    program = str(Path(sys.executable).with_name("mmdistill"))
    for each in [variant] if variant else recipes:
        yield [program, "run", str(recipes[each]), f"name={name}-{each}" if each else f"name={name}"]


if __name__ == "__main__":
    sys.exit(main())
