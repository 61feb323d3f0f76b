"""What the axes of a tap mean: its channels, and the lengths or sizes beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmdistill.losses.module import Shape


@dataclass(frozen=True)
class Layout:
    """The shape of one row of a tap.

    Args:
        tap: its name, for messages.
        shape: None stands for a length that differs from batch to batch.
        channels_first: whether channels are the first axis of a row, as in maps, instead of the last.
    """

    tap: str
    shape: Shape
    channels_first: bool

    @property
    def width(self) -> int | None:
        """Channels; None when they differ from batch to batch."""
        if not self.shape:
            return 1
        return self.shape[0] if self.channels_first else self.shape[-1]

    @property
    def sizes(self) -> Shape:
        """Lengths of all axes but the channels."""
        return self.shape[1:] if self.channels_first else self.shape[:-1]

    @property
    def kind(self) -> Literal["vectors", "tokens", "maps"]:
        """vectors (D), tokens (L, D) or maps (C, …)."""
        if self.channels_first:
            return "maps"
        return "vectors" if len(self.shape) < 2 else "tokens"

    def with_width(self, width: int) -> Shape:
        """The shape with other channels."""
        if not self.shape:
            return (width,)
        return (width, *self.sizes) if self.channels_first else (*self.sizes, width)


def layout(kind: str, tap: str, shape: Shape) -> Layout:
    """The layout of a tap that is bound to an argument of a kind, such as ``maps`` or ``features``.

    Channels come first in maps, in the stages of an encoder, and in whatever has three axes or more.
    """
    maps = kind in ("maps", "stages") or tap.endswith("maps") or ".stages." in tap
    return Layout(tap, shape, channels_first=len(shape) > 2 or (maps and len(shape) > 1))


@dataclass(frozen=True)
class Pair:
    """Two taps that a loss compares, and what of them has to agree.

    Args:
        student: the student's tap.
        teacher: the teacher's tap.
        widths: whether channel is compared with channel.
        sizes: whether position is compared with position.
    """

    student: Layout
    teacher: Layout
    widths: bool = True
    sizes: bool = True

    @property
    def widths_differ(self) -> bool:
        """Whether the channels have to agree and do not, or are not known to."""
        return self.widths and (self.student.width is None or self.student.width != self.teacher.width)

    @property
    def sizes_differ(self) -> bool:
        """Whether the sizes have to agree and some that are known do not."""
        pairs = zip(self.student.sizes, self.teacher.sizes, strict=False)
        return self.sizes and any(one != other for one, other in pairs if one is not None and other is not None)

    def __str__(self) -> str:
        student, teacher = self.student, self.teacher
        return (
            f"A row of the student's {student.tap!r} has the shape {student.shape}, one of the teacher's "
            f"{teacher.tap!r} {teacher.shape}"
        )
