"""Whether a model is right as often as it says."""

from __future__ import annotations

from mmdistill.report import numbers
from mmdistill.report.figures.palette import LIGHT, styles
from mmdistill.report.figures.plot import Plot, canvas, legend_above
from mmdistill.report.foremost import key_models
from mmdistill.report.results import Results
from mmdistill.report.sections.trust import reliability


def draw_calibration(results: Results) -> list[Plot]:
    """The reliability diagram: accuracy against confidence, the size of a point showing how many rows are behind it."""
    lines = {name: points for name in key_models(results) if (points := reliability(results.models[name]))}
    if not lines:
        return []
    figure, axes = canvas(height=3.6)
    look = styles(results)
    axes.plot([0, 1], [0, 1], color=LIGHT["line"], linewidth=1.2, label="as sure as right")
    text = []
    for name, points in lines.items():
        style = look[name]
        confidence, accuracy, count = zip(*points, strict=True)
        total = sum(count)
        axes.plot(
            confidence,
            accuracy,
            color=style.hex,
            linewidth=1.5,
            linestyle=(0, style.dash) if style.dash else "-",
            label=results.label(name),
        )
        axes.scatter(
            confidence,
            accuracy,
            s=[14 + 160 * each / total for each in count],
            color=style.hex,
            marker=style.marker,
            linewidth=0,
        )
        said = sum(each * rows for each, rows in zip(confidence, count, strict=True)) / total
        right = sum(each * rows for each, rows in zip(accuracy, count, strict=True)) / total
        text.append(f"{results.label(name)}: mean confidence {numbers.score(said)}, accuracy {numbers.score(right)}")
    axes.set(xlabel="confidence", ylabel="accuracy of those rows", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    legend_above(axes, columns=2)
    return [Plot("calibration", "Confidence against accuracy; larger points hold more rows", "; ".join(text), figure)]
