"""Unimodal teachers: a model of several columns learns the features of a model of each column alone.

Du, Li, Liu, Li, Tang, Chen, Zhao, "Improving Multi-Modal Learning with Uni-Modal Teachers", 2021, arXiv:2106.11059.
"""

from __future__ import annotations

from mmdistill.errors import InputError
from mmdistill.training.balances.balance import ModalityBalance, Training
from mmdistill.training.balances.options import UnimodalTeachersOptions


class UnimodalTeachers(ModalityBalance):
    """Needs no hook: its options give the objective, and the plan of the run the models that teach.

    Args:
        training: with the names of the models of each column alone.
        options: see `UnimodalTeachersOptions`.

    Raises:
        InputError: when a column has no model of its own.
    """

    def __init__(self, training: Training, options: UnimodalTeachersOptions) -> None:
        super().__init__(training)
        self.options = options
        require_teachers(training, "unimodal_teachers")


def require_teachers(training: Training, name: str) -> None:
    """Refuse a training in which a column has no model of its own to learn from.

    Raises:
        InputError: naming the column.
    """
    for column in training.model.columns:
        if column not in training.unimodal_teachers:
            raise InputError(
                f"The modality balance {name!r} learns from a model of each column alone, and {column!r} has none",
                where="modality_balance",
                fix="Use it for a teacher of encoders, where the run trains these models first",
            )
