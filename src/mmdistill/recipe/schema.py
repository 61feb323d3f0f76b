"""The typed parts of a recipe. Everything a run depends on is one of these fields.

Components (encoders, fusions, losses, tasks, optimisers, schedules) and columns keep their own options as extra keys;
`Component.options` and `ColumnSpec.settings` turn them into the typed options that the catalog holds for their name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mmdistill import catalog
from mmdistill.recipe.custom import CustomSpec
from mmdistill.recipe.loss_weight import LossWeight
from mmdistill.recipe.spec import Spec


class Component(BaseModel):
    """A named thing from the catalog with its options. Short form: the name alone."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str = Field(description="A name from `mmdistill list`.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def options(self, kind: str) -> Any:
        """The typed options of this component as a `kind`.

        Raises:
            InputError: when the catalog has no such name.
            pydantic.ValidationError: when an option is unknown or has a bad value.
        """
        return catalog.get(kind, self.name).options.model_validate(self.model_extra or {})

    def build(self, kind: str, *context: Any) -> Any:
        """Load what the name stands for and call it with `context` and the typed options."""
        return catalog.get(kind, self.name).load()(*context, self.options(kind))


class ColumnSpec(BaseModel):
    """A column the models may read. The other keys are the settings of its type."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    type: str = Field(description="image, text, audio, tabular or vector.")
    source: str | None = Field(default=None, description="Column of the table; the key itself when left out.")
    augment: dict[str, Any] | None = Field(default=None, description="How training varies it; nothing when left out.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    def settings(self) -> Any:
        """The typed extraction settings."""
        return catalog.get("modality", self.type).options.model_validate(self.model_extra or {})

    def augmentation(self) -> Any:
        """The typed augmentation options, or None."""
        if self.augment is None:
            return None
        return catalog.get("augmentation", self.type).options.model_validate(self.augment)


class SplitSpec(Spec):
    """How rows are split. Either a column says it, or fractions with an optional group."""

    column: str | None = Field(default=None, description="Column that holds train, validation (or val, dev) and test.")
    group: str | None = Field(default=None, description="Column whose values (patient, speaker) stay on one side.")
    validation: float = Field(default=0.1, ge=0, lt=1, description="Fraction of the rows (or of train, with `column`).")
    test: float = Field(default=0.1, ge=0, lt=1, description="Fraction of the rows; not used with `column`.")
    seed: int = Field(default=0, description="Changes which rows fall where.")


def _split_short_form(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class DataSpec(Spec):
    """The table and what its columns mean."""

    table: str = Field(description="A file, a folder with a folder per class, hf://owner/name, or a sample's name.")
    format: Literal["csv", "tsv", "jsonl", "parquet", "arrow", "folder"] | None = Field(
        default=None, description="Told by the ending when left out."
    )
    target: str | None = Field(default=None, description="Column to predict; short for the task's own `target`.")
    columns: dict[str, ColumnSpec] = Field(min_length=1, description="The columns that models read, by name.")
    split: Annotated[SplitSpec, BeforeValidator(_split_short_form)] = Field(
        default_factory=SplitSpec, description="How rows are split; short form: the name of the split column."
    )
    on_error: Literal["raise", "skip"] = Field(
        default="raise",
        description="raise: a cell that cannot be read ends the run; skip: its row is left out and counted.",
    )
    limit: int | None = Field(default=None, ge=1, description="Read only the first rows of the table.")


class TaskSpec(BaseModel):
    """What is predicted. The other keys are the options of the task."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    type: str = Field(description="A task from `mmdistill list tasks`.")
    target: str | None = Field(default=None, description="Column of the table; `data.target` when left out.")
    weight: float = Field(default=1.0, ge=0, description="Weight of the supervised loss.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    def options(self) -> Any:
        """The typed options of the task."""
        return catalog.get("task", self.type).options.model_validate(self.model_extra or {})


class StopSpec(Spec):
    """When training ends before its last epoch. The baseline gets as many steps as its student took."""

    patience: int | None = Field(default=None, ge=1, description="Epochs without a better validation score.")
    target: float | None = Field(default=None, description="Validation score that is good enough.")


class CheckpointSpec(Spec):
    """How often a checkpoint is written; on Ctrl-C too, and after an epoch unless that takes over 5 % of the time."""

    steps: int | None = Field(default=None, ge=1, description="Every so many steps.")
    seconds: float | None = Field(default=30.0, gt=0, description="Every so many seconds.")


class TrainSpec(Spec):
    """How a model is trained."""

    epochs: int = Field(default=20, ge=1, description="Passes over the training rows.")
    batch_size: int = Field(default=128, ge=1, description="Rows a step, before accumulation.")
    optimizer: Component = Field(default=Component(name="adamw"), description="An optimiser and its options.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Highest learning rate.")
    schedule: Component = Field(
        default=Component(name="cosine"), description="Shape of the learning rate over the steps."
    )
    clip_norm: float | None = Field(default=None, gt=0, description="Largest norm of the gradient.")
    accumulate: int = Field(default=1, ge=1, description="Batches per optimiser step.")
    mixup: float | None = Field(
        default=None, gt=0, description="Alpha of the Beta distribution of mixup; off when left out."
    )
    stop: StopSpec = Field(default_factory=StopSpec, description="Ending before the last epoch.")
    select: Literal["best", "last"] = Field(
        default="best", description="Which weights are kept: best validation score, or those of the last epoch."
    )
    evaluate_every: int = Field(default=1, ge=1, description="Epochs between two looks at the validation rows.")
    log_every: int = Field(default=50, ge=1, description="Steps between two readings of the losses from the device.")
    checkpoint: CheckpointSpec = Field(default_factory=CheckpointSpec, description="How often a checkpoint is written.")


def _one_or_several(value: Any) -> Any:
    return value if isinstance(value, list) or value is None else [value]


def _dropout_short_form(value: Any) -> Any:
    """A number is the chance of `independent`; zero is none."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"name": "independent", "probability": value} if value else None
    return value


class ModelSpec(Spec):
    """Encoders, one a column the model reads, then a fusion, then the task's head."""

    encoders: dict[str, Component] = Field(
        default_factory=dict, description="An encoder for each column that the model reads."
    )
    custom: CustomSpec | None = Field(
        default=None, description="A model of your own, of timm or of transformers, instead of encoders and fusion."
    )
    fusion: Component | None = Field(
        default=None, description="How several columns become one; concat when left out, not used with one column."
    )
    features: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Extraction settings of this model where they differ from the column's."
    )
    missing: Component | None = Field(
        default=None,
        description="What stands in for a column that a row lacks; when left out the fusion is told what is absent.",
    )
    modality_dropout: Annotated[Component | None, BeforeValidator(_dropout_short_form)] = Field(
        default=None,
        description="Which columns of a row are hidden while training: a distribution and its options; a number is the "
        "chance of each column on its own.",
    )
    modality_balance: Annotated[list[Component], BeforeValidator(_one_or_several)] = Field(
        default_factory=list, description="What keeps one column from drowning out the others in training."
    )
    probes: bool | None = Field(
        default=None,
        description="Train a linear probe on each column's embedding beside the model, without changing it, so that a "
        "lazy column is seen in the curves; left out: for teachers of several columns.",
    )
    projection: int | None = Field(
        default=None, ge=1, description="Width that `fused` is brought to by a small network, as part of the model."
    )
    head_dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout in front of the head.")
    train: dict[str, Any] = Field(default_factory=dict, description="Keys of `train` that differ for this model.")

    @model_validator(mode="before")
    @classmethod
    def _factory_short_form(cls, value: Any) -> Any:
        """`factory: package.module:function` beside the other keys stands for `custom: {factory: …}`."""
        if isinstance(value, Mapping) and "factory" in value and "custom" not in value:
            rest = {key: item for key, item in value.items() if key != "factory"}
            return {**rest, "custom": {"factory": value["factory"]}}
        return value


class LossTerm(BaseModel):
    """A distillation loss of the objective. The other keys are its options. Short form: the name alone."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    name: str = Field(description="A loss from `mmdistill list losses`.")
    weight: float | LossWeight = Field(default=1.0, description="A number, or a change over training.")
    taps: dict[str, str | list[str]] = Field(
        default_factory=dict,
        description="Which outputs are compared, where not the usual ones: `student` or `teacher`, or an argument of "
        "the loss such as `student_image`, → a tap, or a list of taps for an argument that takes several.",
    )
    task: str | None = Field(default=None, description="Which task's logits, when there are several tasks.")
    adapter: Component = Field(
        default=Component(name="auto"),
        description="What joins the student's output to the teacher's where their shapes differ: auto, none, or one of "
        "`mmdistill list adapters` with its options.",
    )
    transforms: Annotated[list[Component], BeforeValidator(_one_or_several)] = Field(
        default_factory=list, description="What is done to the logits of both sides first, in this order."
    )
    sample_weight: Annotated[list[Component], BeforeValidator(_one_or_several)] = Field(
        default_factory=list, description="What makes some rows count more than others; several multiply."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def options(self) -> Any:
        """The typed options of the loss."""
        return catalog.get("loss", self.name).options.model_validate(self.model_extra or {})


class SignalsSpec(Spec):
    """Where the teacher's outputs come from while the student learns."""

    store: bool | None = Field(
        default=None,
        description="true: computed once for the clean rows; false: computed for every batch, on the view the student "
        "sees; left out: stored when nothing that the teacher reads is augmented.",
    )


class StageSpec(Spec):
    """A part of a staged training, such as FitNets' hints before the logits."""

    share: float = Field(gt=0, le=1, description="Part of the epochs that it takes; all shares sum up to 1.")
    losses: list[LossTerm] | None = Field(default=None, description="The terms; those of `distill` when left out.")
    supervised: float | LossWeight | None = Field(
        default=None, description="Weight of the loss on the targets; that of `distill` when left out."
    )
    freeze: list[str] = Field(
        default_factory=list,
        description="Parts of the student that do not learn, by path: `heads`, `encoders.image`, and `terms.<name>` "
        "for what a loss has learnt in an earlier stage.",
    )


class DistillSpec(Spec):
    """What the student learns besides the targets."""

    losses: list[LossTerm] = Field(
        default_factory=lambda: [LossTerm.model_validate({"name": "kd", "temperature": 4.0})], description="The terms."
    )
    supervised: float | LossWeight = Field(default=1.0, description="Weight of the loss on the targets.")
    balance: Literal["none", "gradient_norm"] = Field(
        default="none",
        description="gradient_norm: terms are rescaled now and then so that the norms of their gradients stand to each "
        "other as their weights do.",
    )
    signals: SignalsSpec = Field(default_factory=SignalsSpec, description="Where the teacher's outputs come from.")
    combine: Component = Field(
        default=Component(name="mean"), description="How the logits of several teachers become one."
    )
    policy: Component = Field(
        default=Component(name="frozen"),
        description="Who teaches: a frozen teacher, peers that learn at the same time, the student's own past, or a "
        "teacher that goes on learning.",
    )
    stages: list[StageSpec] = Field(
        default_factory=list, description="Parts of the training with objectives of their own, one after the other."
    )

    def for_stage(self, stage: StageSpec) -> DistillSpec:
        """The objective of one of the stages."""
        changes = {"losses": stage.losses, "supervised": stage.supervised}
        given = {name: value for name, value in changes.items() if value is not None}
        return self.model_copy(update={**given, "stages": []})

    def in_stages(self) -> list[DistillSpec]:
        """The objectives, one after the other: one, unless there are stages."""
        return [self.for_stage(stage) for stage in self.stages] or [self]


class TeacherSpec(ModelSpec):
    """A model that teaches: trained here, taken from an earlier run, or made elsewhere."""

    run: str | None = Field(default=None, description="Folder of an earlier run whose teacher is used as it is.")
    model: str = Field(default="teacher", description="Which model of that run.")
    trained: bool = Field(
        default=False,
        description="A custom teacher that is used as it is, with its own weights, instead of trained here.",
    )
    per_seed: bool = Field(default=False, description="Train a teacher for every seed instead of one for all.")
    control: bool = Field(
        default=False,
        description="Also train a control teacher of the student's own columns and a student of it, to tell what the "
        "other columns add from what unlabelled rows add.",
    )


class StudentSpec(ModelSpec):
    """The model that is shipped."""

    teacher: Annotated[list[str] | None, BeforeValidator(_one_or_several)] = Field(
        default=None,
        min_length=1,
        description="What it learns from: names of teachers, or of students trained before it (an assistant, the "
        "generation before); every teacher when left out.",
    )
    head: Literal["own", "teacher"] = Field(
        default="own",
        description="teacher: it keeps the teacher's head, frozen, behind a learned projection of its own features "
        "(SimKD; Chen et al., 2022).",
    )
    distill: DistillSpec | None = Field(
        default=None, description="Its own objective; the recipe's `distill` when left out."
    )
    baseline: bool = Field(default=True, description="Train the same student without a teacher beside it.")


class EvaluationSpec(Spec):
    """How finished models are measured."""

    resamples: int = Field(default=2000, ge=100, description="Bootstrap resamples behind an interval.")
    latency_repeats: int = Field(default=30, ge=1, description="Timed forward passes behind a latency.")
    batch_size: int = Field(default=512, ge=1, description="Rows a step when models are applied.")


class ComputeSpec(Spec):
    """The machine."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1 or mps.")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Of the training steps."
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads; PyTorch's own choice when left out.")
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(
        default_factory=list, description="Trackers that get the history as well; `history.csv` is always written."
    )


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it. A component of another name replaces the whole component."""
    result = dict(base)
    for key, value in changes.items():
        held = result.get(key)
        if isinstance(held, Mapping) and isinstance(value, str) and "name" in held:
            value = {"name": value}
        renamed = (
            isinstance(value, Mapping)
            and isinstance(held, Mapping)
            and value.get("name", held.get("name")) != held.get("name")
        )
        if isinstance(held, Mapping) and isinstance(value, Mapping) and not renamed:
            result[key] = merge(held, value)
        else:
            result[key] = value
    return result
