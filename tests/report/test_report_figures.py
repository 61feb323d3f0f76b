"""Plots: their files, the arithmetic behind them, and colours that everybody can tell apart."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_runs import helped, many_students, several_students
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmdistill.report.figures.labels import apart
from mmdistill.report.figures.palette import DARK, LIGHT, styles
from mmdistill.report.figures.plot import canvas, legend_above, look
from mmdistill.report.figures.tradeoff import worth_naming
from mmdistill.report.foremost import key_models
from mmdistill.report.reading import parse_results
from mmdistill.report.results import Results, Run
from mmdistill.report.sections.classes import confusion
from mmdistill.report.sections.gains import seed_gains
from mmdistill.report.sections.subsets import subset_scores, worst_subset
from mmdistill.report.sections.trust import reliability
from mmdistill.report.spread import Spread


def test_figures_are_written_as_svg_and_png(tmp_path: Path) -> None:
    from mmdistill.report.figures.every import write_figures

    folder = helped().write(tmp_path / "run")
    paths = write_figures(folder)
    assert {path.name for path in (folder / "figures").iterdir()} == {path.name for path in paths}
    names = {path.stem for path in paths}
    assert {
        "gain",
        "gain-seeds",
        "curve-validation",
        "curve-loss-teacher",
        "curve-learning-rate",
        "terms-student",
        "term-gradients-student",
        "tradeoff-size",
        "tradeoff-latency",
    } <= names
    assert {
        "confusion-teacher",
        "confusion-student",
        "confusion-baseline",
        "subsets",
        "calibration",
        "balance",
    } <= names
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width >= 700
                assert np.asarray(image.convert("L")).std() > 3, "the picture is not empty"
        else:
            assert path.read_text(encoding="utf-8").rstrip().endswith("</svg>")


def test_of_many_students_those_are_named_that_none_beats(tmp_path: Path) -> None:
    from mmdistill.report.figures.every import write_figures

    folder = many_students().write(tmp_path / "run")
    assert "gain-seeds" not in {path.stem for path in write_figures(folder)}
    results = parse_results(many_students().results())
    points = {
        name: (float(model.parameters or 1), Spread(model.runs[0].metrics["accuracy"] or 0.0, 0.0, 1))
        for name, model in results.models.items()
    }
    named = worth_naming(results, points)
    assert {"teacher", "baseline", "s0", "s19"} <= set(named)
    assert len(named) < 8


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    from mmdistill.report.figures.every import write_figures

    folder = helped().write(tmp_path / "run")
    first = {path.name: path.read_bytes() for path in write_figures(folder)}
    assert first == {path.name: path.read_bytes() for path in write_figures(folder)}


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were(tmp_path: Path) -> None:
    import matplotlib

    from mmdistill.report.figures.every import draw
    from mmdistill.report.run_folder import read_run_folder

    before = dict(matplotlib.rcParams)
    draw(read_run_folder(helped().write(tmp_path / "run")))
    assert dict(matplotlib.rcParams) == before
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_reading_and_comparing_load_no_plot_library() -> None:
    code = (
        "import sys, mmdistill.report.page, mmdistill.report.terminal, mmdistill.report.compare\n"
        "import mmdistill.report.model_card\n"
        "print([name for name in ('torch', 'matplotlib', 'seaborn', 'pandas', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def luminance(colour: str) -> float:
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_marks_have_enough_contrast(scheme: dict[str, str]) -> None:
    for name in ("ink", "muted", "good", "bad", "unclear"):
        assert contrast(scheme[name], scheme["paper"]) >= 4.5, name
    for name in ("teacher", "student", "student-2", "student-3", "baseline", "control", "peer"):
        assert contrast(scheme[name], scheme["paper"]) >= 3, name


def test_both_schemes_name_the_same_colours_and_no_light_colour_twice() -> None:
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT), "a colour of a drawing stands for one variable"


def deuteranopic(colour: str) -> np.ndarray:
    """How the colour looks without green receptors (Viénot, Brettel and Mollon 1999), in linear RGB."""
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    reduce = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    return np.asarray(reduce @ linear)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_roles_are_told_apart_without_green_receptors(scheme: dict[str, str]) -> None:
    for one, other in itertools.combinations(("teacher", "student", "baseline"), 2):
        assert np.abs(deuteranopic(scheme[one]) - deuteranopic(scheme[other])).max() > 0.1, (one, other)


def test_a_role_keeps_its_colour_and_no_two_models_look_alike() -> None:
    found = styles(parse_results(several_students().results()))
    assert found["teacher"].colour == "teacher"
    assert found["student"].colour == "student"
    assert found["baseline"].colour == "baseline"
    assert len({(style.colour, style.dash) for style in found.values()}) == len(found)


@given(st.lists(st.floats(-100, 100), max_size=12), st.floats(0.1, 20))
def test_labels_stand_apart_in_their_order(wanted: list[float], gap: float) -> None:
    placed = apart(wanted, gap)
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    for one, other in itertools.pairwise(order):
        assert placed[other] - placed[one] >= gap - 1e-6
    if all(abs(one - other) >= gap for one, other in itertools.combinations(wanted, 2)):
        assert placed == pytest.approx(wanted)


def test_confusion_adds_seeds_and_normalises_rows() -> None:
    content = helped().results()
    model = parse_results(content).models["student"]
    classes, shares = confusion(model) or pytest.fail("no matrix")
    total = np.sum([run["details"]["confusion"] for run in content["models"]["student"]["runs"]], axis=0)
    assert classes == content["models"]["student"]["runs"][0]["details"]["classes"]
    np.testing.assert_allclose(shares, total / total.sum(1, keepdims=True))


def test_a_class_without_rows_has_an_empty_row() -> None:
    content = helped().results()
    for run in content["models"]["student"]["runs"]:
        run["details"]["confusion"][2] = [0] * 6
    _, shares = confusion(parse_results(content).models["student"]) or pytest.fail("no matrix")
    assert shares[2].tolist() == [0.0] * 6


def test_a_gain_is_positive_when_better_whatever_the_direction() -> None:
    content = helped().results()
    up = parse_results(content)
    assert min(seed_gains(up, up.all_gains[0])) > 0
    content["metrics"]["accuracy"]["higher_is_better"] = False
    down = parse_results(content)
    assert seed_gains(down, down.all_gains[0]) == [-gain for gain in seed_gains(up, up.all_gains[0])]


def test_reliability_weighs_bins_by_their_rows_and_drops_empty_ones() -> None:
    bins = [[(0.2, 0.1, 10), (0.9, 0.8, 30)], [(0.4, 0.3, 30), (None, None, 0)]]
    runs = [
        {
            "seed": seed,
            "metrics": {},
            "calibration": {"bins": [{"confidence": c, "accuracy": a, "count": n} for c, a, n in each]},
        }
        for seed, each in enumerate(bins)
    ]
    model = (
        parse_results(helped().results())
        .models["student"]
        .model_copy(update={"runs": [Run.model_validate(run) for run in runs]})
    )
    np.testing.assert_allclose(reliability(model), [(0.35, 0.25, 40), (0.9, 0.8, 30)])


@pytest.mark.parametrize("labels", [["supervised", "kd"], [f"auxiliary.reconstruction {i}" for i in range(4)]])
def test_a_legend_leaves_the_axes_their_width(labels: list[str]) -> None:
    with look():
        figure, axes = canvas(2.2)
        for label in labels:
            axes.plot([0, 1], [0, 1], label=label)
        legend_above(axes, columns=4)
        figure.draw_without_rendering()
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().x1 <= figure.bbox.x1
    assert axes.get_window_extent().width > 0.75 * figure.bbox.width


@pytest.mark.parametrize(("higher", "best"), [(True, "second"), (False, "first")])
def test_without_a_student_the_best_teacher_on_validation_is_shown(higher: bool, best: str) -> None:
    models = {
        name: {"role": "teacher", "runs": [{"seed": 0, "metrics": {"m": test}, "validation": {"m": validation}}]}
        for name, test, validation in (("first", 0.9, 0.5), ("second", 0.8, 0.6))
    }
    document = {"format": 1, "name": "n", "task": "t", "primary_metric": "m", "higher_is_better": higher}
    assert key_models(Results.model_validate({**document, "models": models})) == [best]


def test_the_worst_subset_follows_the_direction() -> None:
    model = parse_results(helped().results()).models["teacher"]
    scores = subset_scores(model, "accuracy")
    assert next(iter(scores)) == "image+sound"
    assert worst_subset(scores, higher_is_better=True) == "sound"
    assert worst_subset(scores, higher_is_better=False) == "image+sound"
