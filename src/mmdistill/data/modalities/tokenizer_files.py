"""Where the tokenizer.json that a recipe names lies on this machine."""

from __future__ import annotations

from pathlib import Path

from mmdistill.errors import InputError


def local_tokenizer(name: str, root: Path | None) -> Path | None:
    """The tokenizer.json of a folder or file, as it stands or seen from `root`; None when `name` is no local path.

    Raises:
        InputError: when the folder has no tokenizer.json.
    """
    for place in (Path(name).expanduser(), *([root / name] if root is not None else [])):
        if place.is_file():
            return place
        if place.is_dir():
            file = place / "tokenizer.json"
            if not file.is_file():
                raise InputError(
                    f"The folder {place} has no tokenizer.json",
                    fix="Save the tokenizer there with AutoTokenizer.from_pretrained(...).save_pretrained(folder)",
                )
            return file
    return None
