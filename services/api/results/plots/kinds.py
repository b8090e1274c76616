"""The kinds of plots: the parameters of each, and how it is drawn from a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.api.http.query import Query
from services.api.results.plots.bar import draw_bar
from services.api.results.plots.beeswarm import BeeswarmFigures, draw_beeswarm
from services.api.results.plots.dependence import DependenceFigures, draw_dependence
from services.api.results.plots.lines import Ranking
from services.api.results.plots.svg import Drawing
from services.api.results.plots.waterfall import WaterfallFigures, draw_waterfall
from services.api.results.result import JobNames
from services.api.results.summaries import JobSummaries
from shared.errors import BadParameterError
from shared.jobs.document import Job
from shared.models.catalog import ModelCatalog

#: The parameters of each kind.
KINDS = {
    "bar": ("output", "max_display"),
    "beeswarm": ("output", "max_display"),
    "waterfall": ("row", "output", "max_display"),
    "dependence": ("feature", "output"),
}
#: Lines of a plot by default, as in shap.plots, and at most.
DISPLAYED, MOST_DISPLAYED = 10, 100
#: The most names that an error lists.
LISTED = 12


@dataclass(frozen=True, slots=True)
class PlotParameters:
    """The parameters of a plot, with the places of the output and the feature among the job's."""

    names: JobNames
    output: int
    feature: int | None
    row: int
    max_display: int

    @classmethod
    def read(cls, query: Query, job: Job, catalog: ModelCatalog) -> PlotParameters:
        """Read them; the job need not have ended. Raises BadParameterError."""
        names = JobNames.of(job, catalog)
        return cls(
            names,
            _place(query, "output", names.outputs) or 0,
            _place(query, "feature", names.features),
            query.whole("row", 0, 0, job.rows - 1),
            query.whole("max_display", DISPLAYED, 1, MOST_DISPLAYED),
        )


def draw_plot(kind: str, job: Job, wanted: PlotParameters, summaries: JobSummaries) -> Drawing:
    """Draw a plot of a completed job. Raises the errors of JobSummaries."""
    names, output, row, max_display = wanted.names, wanted.output, wanted.row, wanted.max_display
    if kind == "waterfall":
        features, explained = summaries.row(job, row)
        values, base_value = explained.values[0, output], float(explained.base_values[0, output])
        steps = WaterfallFigures.of(features, values, base_value, names.columns, max_display)
        return draw_waterfall(steps, f"{_title(job, names, output, job.rows)}, row {row}")
    summary = summaries.of(job)
    mean_abs, values = summary.moments.mean_abs[output], summary.explanation.values[:, output]
    if kind == "bar":
        ranking = Ranking.by(mean_abs, max_display)
        title = _title(job, names, output, job.rows)
        return draw_bar(ranking.labels(names.features), ranking.gather(mean_abs), title)
    title = _title(job, names, output, len(summary.features))
    if kind == "beeswarm":
        dots = BeeswarmFigures.of(summary.features, values, mean_abs, names.features, max_display)
        return draw_beeswarm(dots, title)
    feature = int(np.argmax(mean_abs)) if wanted.feature is None else wanted.feature
    points = DependenceFigures.of(feature, summary.features, values, names.columns)
    return draw_dependence(points, title)


def _place(query: Query, what: str, names: Sequence[str]) -> int | None:
    wanted = query.text(what)
    if wanted is None:
        return None
    if wanted in names:
        return list(names).index(wanted)
    listed = ", ".join(names[:LISTED]) + (", …" if len(names) > LISTED else "")
    raise BadParameterError(f"The job has no {what} {wanted[:40]!r}. Available {what}s: {listed}.")


def _title(job: Job, names: JobNames, output: int, shown: int) -> str:
    some = f"{shown:,} of " if shown < job.rows else ""
    rows = some + (f"{job.rows:,} rows" if job.rows > 1 else "1 row")
    of = f", output {names.outputs[output]}" if job.outputs > 1 else ""
    method = "" if job.method == "tree_path_dependent" else f", {job.method}"
    return f"{job.model}{of}{method}, {rows}"
