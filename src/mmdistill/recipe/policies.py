"""Checks of who teaches whom: teachers that exist, in an order that can be trained, and policies that go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mmdistill.errors import nearest
from mmdistill.recipe.document import KeyPath
from mmdistill.recipe.problems import Problem

if TYPE_CHECKING:
    from mmdistill.recipe.recipe import Recipe
    from mmdistill.recipe.schema import StudentSpec

WITHOUT_TEACHER = ("mutual", "own_past")
"""Policies under which a student learns from no model that was trained before it."""


def bad_teachers(recipe: Recipe) -> Iterator[Problem]:
    """Names of teachers that nothing has, circles of students, and controls that would be no control."""
    known = [*recipe.teachers, *recipe.students]
    if not known:
        yield Problem(("students",), "There is neither a teacher nor a student", "Add `teacher` and `student`")
    for name, teacher_spec in recipe.teachers.items():
        if teacher_spec.run is not None and not recipe.students:
            what = "A teacher of an earlier run is only measured beside a student, and there is none"
            yield Problem(("teachers", name, "run"), what, "Add `student`, or use `mmdistill evaluate` on that run")
    for name, student in recipe.students.items():
        others = [one for one in known if one != name]
        for teacher in student.teacher or ():
            if teacher not in others:
                what = f"There is no other model {teacher!r} to learn from"
                yield Problem(("students", name, "teacher"), what, nearest(teacher, others))
        if not recipe.teachers and not recipe.teachers_of(name) and _policy(recipe, student) not in WITHOUT_TEACHER:
            yield Problem(("students", name), f"The student {name!r} has no teacher", "Add `teacher`")
    yield from _circles(recipe)
    yield from _bad_controls(recipe)


def _circles(recipe: Recipe) -> Iterator[Problem]:
    """Students that would have to be trained before themselves."""
    done = set(recipe.teachers)
    waiting = {name: {one for one in recipe.teachers_of(name) if one in recipe.students} for name in recipe.students}
    while waiting:
        ready = [name for name, needed in waiting.items() if needed <= done]
        if not ready:
            circle = ", ".join(sorted(waiting))
            yield Problem(
                ("students", next(iter(waiting)), "teacher"),
                f"These students learn from each other in a circle: {circle}",
                "Let one of them learn from a teacher, or use the policy `mutual`",
            )
            return
        done |= set(ready)
        waiting = {name: needed for name, needed in waiting.items() if name not in ready}


def _bad_controls(recipe: Recipe) -> Iterator[Problem]:
    for name, teacher in recipe.teachers.items():
        if not teacher.control:
            continue
        at: KeyPath = ("teachers", name, "control")
        if not teacher.encoders or len(recipe.teachers) > 1:
            what = "A control teacher is trained as the teacher was, and this teacher is not trained here alone"
            yield Problem(at, what, "Remove `control`, or give the recipe one teacher with `encoders`")
            continue
        for student_name, student in recipe.students.items():
            policy = _policy(recipe, student)
            if policy != "frozen":
                what = f"A control learns from a teacher that does not change, and {student_name!r} has {policy!r}"
                yield Problem(at, what, "Remove `control`, or keep the policy `frozen`")
            elif student.custom is not None:
                what = f"The control teacher has the teacher's encoders of the student's columns, and {student_name!r}"
                yield Problem(at, f"{what} is a custom model", "Remove `control`, or make the student of encoders")
            elif not set(student.encoders) < set(teacher.encoders):
                yield Problem(
                    at,
                    f"The student {student_name!r} reads all that the teacher reads: a control teacher would be the "
                    "teacher",
                    "Remove `control` or give the student fewer columns",
                )


def bad_policies(recipe: Recipe) -> Iterator[Problem]:
    """Policies that contradict the rest of a student."""
    for name, student in recipe.students.items():
        policy, distill = _policy(recipe, student), recipe.distill_for(student)
        at: KeyPath = ("students", name)
        if policy in WITHOUT_TEACHER and student.teacher:
            what = f"Under the policy {policy!r} a student learns from no teacher"
            yield Problem((*at, "teacher"), what, "Remove `teacher`, or choose the policy `frozen`")
        if policy == "co_trained":
            teachers = recipe.teachers_of(name)
            if len(teachers) != 1:
                what = f"One teacher is trained along, and {name!r} learns from {len(teachers)}"
                yield Problem((*at, "teacher"), what, "Name one")
            for teacher in (one for one in teachers if _cannot_learn(recipe, one)):
                what = f"The teacher {teacher!r} gives signals and cannot learn along"
                yield Problem((*at, "teacher"), what, "Choose the policy `frozen`, or a teacher that can be trained")
        if policy != "frozen" and distill.signals.store:
            what = f"Under the policy {policy!r} the teacher changes at every step, so its signals cannot be stored"
            yield Problem(("distill", "signals", "store"), what, "Leave it out")
        if policy in ("mutual", "own_past", "co_trained") and distill.stages:
            yield Problem(("distill", "stages"), f"Stages and the policy {policy!r} do not go together", "Keep one")
        if student.head == "teacher" and (policy != "frozen" or len(recipe.teachers_of(name)) != 1):
            what = "A head is taken over from one frozen teacher"
            yield Problem((*at, "head"), what, "Name one teacher and keep the policy `frozen`")
        if student.head == "teacher" and student.custom is not None:
            what = "A custom model has a head of its own"
            yield Problem((*at, "head"), what, "Remove `head`, or make the student of encoders")
    yield from _peers_apart(recipe)


def _cannot_learn(recipe: Recipe, teacher: str) -> bool:
    """Whether a model is a saved program or an ONNX file."""
    custom = recipe.teachers[teacher].custom if teacher in recipe.teachers else None
    return custom is not None and custom.source in ("program", "onnx")


def _peers_apart(recipe: Recipe) -> Iterator[Problem]:
    """Peers are trained in one training, beside baselines of the same settings, so all must want the same."""
    peers = [name for name, student in recipe.students.items() if _policy(recipe, student) == "mutual"]
    for name in peers[1:]:
        if recipe.train_for(recipe.students[name]) != recipe.train_for(recipe.students[peers[0]]):
            what = f"{peers[0]!r} and {name!r} learn from each other in one training, and their `train` differs"
            yield Problem(("students", name, "train"), what, "Give every peer the same settings")


def bad_stages(recipe: Recipe) -> Iterator[Problem]:
    """Shares that are not a whole training, and trainings that are too short for their stages."""
    for name, student in recipe.students.items():
        stages, epochs = recipe.distill_for(student).stages, recipe.train_for(student).epochs
        if epochs < len(stages):
            at: KeyPath = ("students", name, "distill") if student.distill else ("distill",)
            what = f"There are {len(stages)} stages and {epochs} epochs"
            yield Problem((*at, "stages"), what, "Give every stage an epoch: raise train.epochs")
    own = [(("students", name, "distill"), student.distill) for name, student in recipe.students.items()]
    for at, distill in [(("distill",), recipe.distill), *own]:
        if distill is None or not distill.stages:
            continue
        total = sum(stage.share for stage in distill.stages)
        if abs(total - 1) > 1e-6:
            what = f"The shares of the stages sum up to {total:.3g}, not to 1"
            yield Problem((*at, "stages"), what, "Give each stage its part of the epochs")


def _policy(recipe: Recipe, student: StudentSpec) -> str:
    return recipe.distill_for(student).policy.name
