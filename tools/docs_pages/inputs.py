"""What the inputs of losses are: where a recipe takes them from, and tensors that stand for them on a page."""

from __future__ import annotations

from dataclasses import dataclass

from docs_pages.markdown import code, table
from mmdistill.losses.entry import LossEntry

ROWS = 8
STUDENT_WIDTH, TEACHER_WIDTH = 48, 96
NOT_ADAPTED = ("logits", "attention", "head_weight", "values", "indices", "log_remainder", "variance")


@dataclass(frozen=True)
class Kind:
    """What an input of a name is, after ``student_`` or ``teacher_``.

    Args:
        bound: what a recipe binds it to when it names nothing.
        tensor: Python that makes one; ``{width}`` and ``{grad}`` are filled in. Empty for inputs that pages leave out.
        built_in: whether a model of built-in encoders has it.
        taps: what a recipe names for it where nothing is bound by itself, on a model of the columns image and text.
    """

    bound: str
    tensor: str = ""
    built_in: bool = True
    taps: str | tuple[str, ...] = ()


_COLUMN_TAPS = "the taps `<column>.{0}` that `taps` names, one a column"
_TUPLE = "tuple(torch.randn(8, 48{grad}) for _ in range(3))"


def _column(part: str, tensor: str = _TUPLE) -> Kind:
    return Kind(_COLUMN_TAPS.format(part), tensor, built_in=False, taps=(f"image.{part}", f"text.{part}"))


KINDS: dict[str, Kind] = {
    "logits": Kind("`logits`; `<task>.logits` with several tasks", "torch.randn(8, 10{grad})"),
    "features": Kind("`fused`", "torch.randn(8, {width}{grad})"),
    "image": Kind(
        "the tap `image`, or the only one that ends with `.image`", "torch.randn(8, {width}{grad})", taps="image"
    ),
    "text": Kind(
        "the tap `text`, or the only one that ends with `.text`", "torch.randn(8, {width}{grad})", taps="text"
    ),
    "embeddings": Kind("the embeddings of the columns, one a column", _TUPLE, taps=("image", "text")),
    "maps": Kind("the only `<column>.maps`", "torch.randn(8, {width}, 7, 7{grad})"),
    "stages": Kind(
        "`<column>.stages.0`, `.1`…, shallow to deep, of the only column that has them",
        "(torch.randn(8, 16, 8, 8{grad}), torch.randn(8, {width}, 4, 4{grad}))",
    ),
    "tokens": Kind("the only `<column>.tokens`", "torch.randn(8, 12, {width}{grad})", taps="text.tokens"),
    "layers": Kind(
        "`<column>.layers.0`, `.1`…, shallow to deep, of the only column that has them",
        "tuple(torch.randn(8, 12, {width}{grad}) for _ in range(2))",
    ),
    "attention": Kind(
        "the only tap that ends with `.attention`", "torch.randn(8, 4, 12, 12{grad})", False, "text.attention"
    ),
    "shared": _column("shared"),
    "private": _column("private"),
    "reconstructions": _column("reconstructions"),
    "column_logits": _column("column_logits", "tuple(torch.randn(8, 10{grad}) for _ in range(3))"),
    "head_weight": Kind("the weight of the linear head", "torch.randn(10, {width}{grad})"),
    "logit_scale": Kind("the tap `logit_scale`, where there is one", built_in=False),
    "logit_bias": Kind("the tap `logit_bias`, where there is one", built_in=False),
    "values": Kind("the tap `values`, where there is one", built_in=False),
    "indices": Kind("the tap `indices`, where there is one", built_in=False),
    "log_remainder": Kind("the tap `log_remainder`, where there is one", built_in=False),
    "variance": Kind("the tap `variance`, where there is one", built_in=False),
    "target": Kind("the targets of the task", "torch.randint(0, 10, (8,))"),
    "labelled": Kind("which rows have a target"),
    "weight": Kind(
        "what each row counts: 0 where the target that is needed is missing or the teacher has seen nothing of the "
        "row, times `sample_weight`"
    ),
    "mask": Kind("the mask of the student's tap, where it has one"),
    "row": Kind("the row numbers of the batch", "torch.arange(8)"),
    "present": Kind("which columns each row has", "torch.rand(8, 3) < 0.7"),
    "seen": Kind("which columns the student was shown of each row, after modality dropout", "torch.rand(8, 3) < 0.7"),
    "progress": Kind("share of the training that is done, from 0 to 1"),
}

SHOWN_AS_WELL = {"catkd": ("student_head_weight", "teacher_head_weight")}
"""Accepted inputs without which a loss cannot compare the tensors of its page."""
OWN_TENSORS = {("bounded_regression", "target"): "torch.randn(8, 10)"}
"""(loss, argument) → Python, where the usual tensor of the argument's name does not suit the loss."""


def kind_of(argument: str) -> Kind:
    """The kind of an input."""
    name = bare(argument)
    assert name in KINDS, f"docs_pages/inputs.py has to say what {argument!r} is"
    return KINDS[name]


def bare(argument: str) -> str:
    """``features`` for ``student_features``."""
    return argument.removeprefix("student_").removeprefix("teacher_")


def adapted(entry: LossEntry) -> list[str]:
    """The kinds of inputs that an adapter joins: both sides are there, and something of them has to agree."""
    kinds = [bare(name) for name in entry.needs if name.startswith("student_")]
    both = [kind for kind in kinds if f"teacher_{kind}" in entry.needs and kind not in NOT_ADAPTED]
    return both if entry.equal_widths or entry.equal_sizes else []


def compared(entry: LossEntry) -> list[str]:
    """The kinds of inputs that both sides have and that are no logits."""
    kinds = [bare(name) for name in entry.needs if name.startswith("student_")]
    return [kind for kind in kinds if f"teacher_{kind}" in entry.needs and kind not in NOT_ADAPTED]


def inputs_table(entry: LossEntry) -> str:
    """Every argument with what a recipe binds it to."""
    one_of = {name for group in entry.alternatives for name in group}

    def needed(name: str) -> str:
        return "yes" if name in entry.needs else "one group" if name in one_of else "no"

    rows = [(code(name), needed(name), kind_of(name).bound) for name in (*entry.needs, *entry.accepts)]
    return table(("argument", "needed", "in a recipe it is, if no tap is named"), rows)


def named_taps(entry: LossEntry) -> dict[str, str | list[str]]:
    """Taps that a recipe has to name, on a model of the columns image and text."""
    found: dict[str, str | list[str]] = {}
    for name in entry.needs:
        taps = kind_of(name).taps
        if taps:
            found[name] = taps if isinstance(taps, str) else list(taps)
    return found


def tensor(entry: LossEntry, argument: str) -> str:
    """Python that makes an input; the teacher's features are wider where the loss compares any two widths."""
    text = OWN_TENSORS.get((entry.name, argument)) or kind_of(argument).tensor
    wide = argument.startswith("teacher_") and not entry.equal_widths
    grad = ", requires_grad=True" if argument.startswith("student_") else ""
    return text.format(width=TEACHER_WIDTH if wide else STUDENT_WIDTH, grad=grad)
