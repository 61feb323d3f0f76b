"""All plots of a run, section by section, and their files."""

from __future__ import annotations

from pathlib import Path

from mmdistill.files import written_aside
from mmdistill.report.figures.attention import draw_attention
from mmdistill.report.figures.balance import draw_balance
from mmdistill.report.figures.calibration import draw_calibration
from mmdistill.report.figures.confusion import draw_confusion
from mmdistill.report.figures.curves import draw_curves
from mmdistill.report.figures.gain import draw_gain
from mmdistill.report.figures.plot import Plot, look
from mmdistill.report.figures.probes import draw_probes
from mmdistill.report.figures.subsets import draw_subsets
from mmdistill.report.figures.subspaces import draw_subspaces
from mmdistill.report.figures.svg import png_file, svg_file
from mmdistill.report.figures.teaching import draw_teaching
from mmdistill.report.figures.tradeoff import draw_tradeoff
from mmdistill.report.results import Results
from mmdistill.report.run_folder import RunFolder, read_run_folder
from mmdistill.report.sections.subspaces import shown_subspaces


def draw(run: RunFolder) -> dict[str, list[Plot]]:
    """Section → its plots. A section whose numbers are missing has none."""
    with look():
        drawn = {
            "gain": draw_gain(run.results),
            "curves": draw_curves(run),
            "teaching": draw_teaching(run),
            "probes": draw_probes(run),
            "tradeoff": draw_tradeoff(run.results),
            "confusion": draw_confusion(run.results),
            "fusion": [*draw_attention(run.results), *_subspaces(run.results)],
            "subsets": draw_subsets(run.results),
            "calibration": draw_calibration(run.results),
            "data": draw_balance(run.results),
        }
        for plots in drawn.values():
            for plot in plots:
                _settle(plot)
        return drawn


def _subspaces(results: Results) -> list[Plot]:
    return draw_subspaces(shown_subspaces(results), {name: results.label(name) for name in results.models})


def _settle(plot: Plot) -> None:
    """Place everything once, so that saving in several formats does not do it again."""
    plot.figure.draw_without_rendering()
    plot.figure.set_layout_engine("none")


def write_figures(run_folder: Path) -> list[Path]:
    """Draw every plot into `figures/` of a run folder, as SVG and as PNG (200 dots per inch), each file whole.

    Raises:
        InputError: when the run folder is not finished or damaged.
        MMDistillError: when a file cannot be written.
    """
    run = read_run_folder(run_folder)
    folder = run.path / "figures"
    written = []
    plots = [plot for section in draw(run).values() for plot in section]
    with look():
        for plot in plots:
            for ending, content in (("svg", svg_file(plot)), ("png", png_file(plot))):
                path = folder / f"{plot.name}.{ending}"
                with written_aside(path) as aside:
                    aside.write_bytes(content)
                written.append(path)
    return written
