"""What each column had learnt, over the training: the validation scores of its probe beside the model's own."""

from __future__ import annotations

import seaborn as sns
from matplotlib.ticker import MaxNLocator

from mmdistill.report import numbers
from mmdistill.report.figures.lines import BAND, TERM_COLOURS, file_name, last, lone, over_training, seed_range
from mmdistill.report.figures.palette import LIGHT
from mmdistill.report.figures.plot import Plot, canvas, legend_above, shortened
from mmdistill.report.run_folder import RunFolder, probe_column
from mmdistill.report.sections.probes import probed_columns, probed_models
from mmdistill.report.table import arrow


def draw_probes(run: RunFolder) -> list[Plot]:
    """One plot a model that has probes; a thin line across is what a column reaches alone."""
    return [_drawn(run, name, columns) for name, columns in probed_models(run).items()]


def _drawn(run: RunFolder, name: str, columns: list[str]) -> Plot:
    histories, metric = run.histories[name], run.results.primary_metric
    alone = {one.column: one.alone for one in probed_columns(run) if one.model == name}
    figure, axes = canvas(height=2.9)
    lines = {"the model": ("validation_score", LIGHT["ink"])}
    colours = iter(TERM_COLOURS * len(columns))
    lines |= {column: (probe_column(column), LIGHT[next(colours)]) for column in columns}
    ends = []
    for label, (column, colour) in lines.items():
        frame = over_training(histories, column)
        sns.lineplot(
            frame,
            x="epoch",
            y="value",
            ax=axes,
            color=colour,
            linewidth=2.0 if label == "the model" else 1.5,
            marker=lone(frame),
            errorbar=seed_range,
            err_kws=BAND,
            label=shortened(label),
        )
        ends.append(f"{label} ends at {numbers.score(last(frame))}")
        level = alone.get(label)
        if level is not None:
            axes.axhline(level, color=colour, linewidth=1.0, linestyle=(0, (1.4, 1.4)))
            ends[-1] += f" (alone {numbers.score(level)})"
    label = f"{run.results.metric_label(metric)} {arrow(run.results.higher(metric))}".strip() + ", validation rows"
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    legend_above(axes, columns=4)
    title = f"Probes of the columns, {run.results.label(name)}"
    return Plot(f"probes-{file_name(name)}", title, "; ".join(ends), figure)
