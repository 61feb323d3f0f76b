"""The reference of custom models: their keys, how taps are named, and the arrays that a column can give."""

from __future__ import annotations

from docs_pages.docstrings import source_of
from docs_pages.markdown import code, fenced, page, table
from docs_pages.options import options_section
from mmdistill.recipe.custom import SOURCES, CustomSpec

TAP_PATHS = "mmdistill.models.custom.tap_path:parse_tap_path"
ARRAYS = (
    ("image", "`values`: pixels, standardised as `pixels` says, float32 (B, C, H, W)"),
    ("text", "`values`: token ids, int64 (B, L); `mask`: true at tokens"),
    ("audio", "`values`: log-mel frames (B, T, M) or samples (B, T); `mask`"),
    ("tabular", "`numeric`, `categorical`, `missing`"),
    ("vector", "`values`: (B, D), or (B, L, D) with `mask`"),
    ("any", "`present`: bool (B,), which rows have the column"),
)
SOURCE_NOTES = {
    "factory": "A function of your own. Its module is found as Python finds it, or in the current folder.",
    "timm": "Built for the pixels and the classes of the run. Needs the extra `backbones`.",
    "transformers": "Built for the column and the classes of the run; weights are read from safetensors alone. Needs "
    "the extra `backbones`.",
    "program": "What `torch.export.save` wrote. It is checked before it is read, so that nothing in it can run code.",
    "onnx": "Run by onnxruntime on the CPU. It has nothing to train, so it teaches, with `trained: true`.",
}


def custom_page() -> str:
    """Everything about `custom`."""
    paths = source_of(TAP_PATHS)
    assert paths is not None
    _, language = paths.module_docstring.strip().split("\n\n", 1)
    assert set(SOURCE_NOTES) == set(SOURCES), "every source of a custom model has a note"
    return page(
        "# Custom models",
        "`teacher.custom` and `student.custom` (or, under `teachers` and `students`, `<name>.custom`) take a model "
        "that this library did not design, in the place of encoders, fusion and head. The [guide](../custom_models.md) "
        "shows each of them at work.",
        "## Keys",
        options_section(CustomSpec, 3),
        "## Sources",
        "Exactly one is given.",
        table(("key", ""), [(code(name), SOURCE_NOTES[name]) for name in SOURCES]),
        "## Paths of taps",
        "A tap is an output of a module anywhere in the model, taken while the model runs:",
        fenced(language, "text"),
        "A path that does not exist is an error that names the nearest one.",
        "## Arrays",
        "What `inputs` can name as `<column>.<array>`, by the type of the column; a bare column stands for its "
        "`values`.",
        table(("type", "arrays"), ARRAYS),
    )
