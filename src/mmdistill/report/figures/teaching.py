"""What taught each student: the size of every loss term, and how strongly it pulled at the student's weights."""

from __future__ import annotations

from mmdistill.report.figures.lines import draw_terms, file_name, over_training
from mmdistill.report.figures.plot import Plot
from mmdistill.report.run_folder import RunFolder, gradient_column
from mmdistill.report.sections.teaching import taught


def draw_teaching(run: RunFolder) -> list[Plot]:
    """Two plots a student that has several terms: their weighted sizes and the norms of their gradients, over steps."""
    plots = []
    for name, terms in taught(run).items():
        histories, label, file = run.histories[name], run.results.label(name), file_name(name)
        sizes = {term: over_training(histories, term, "step") for term in terms}
        norms = {term: over_training(histories, gradient_column(term), "step") for term in terms}
        title = f"Size of each term, {label}"
        plots.append(draw_terms(sizes, "step", name=f"terms-{file}", title=title, label="weighted loss"))
        title = f"Gradient norm of each term, {label}"
        plots.append(draw_terms(norms, "step", name=f"term-gradients-{file}", title=title, label="gradient norm"))
    return plots
