"""Each kind of plot: which parameters it takes, and how it comes from a job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from services.api.http.query import Query
from services.api.results.plots.bar import BarFigures, draw_bar
from services.api.results.plots.beeswarm import BeeswarmFigures, draw_beeswarm
from services.api.results.plots.dependence import DependenceFigures, draw_dependence
from services.api.results.plots.svg import Drawing
from services.api.results.plots.waterfall import WaterfallFigures, draw_waterfall
from services.api.results.result import JobNames
from services.api.results.summaries import JobSummaries
from shared.errors import BadParameterError
from shared.jobs.document import Job
from shared.models.catalog import ModelCatalog

#: Lines of a plot by default, as in shap.plots, and at most.
DISPLAYED, MOST_DISPLAYED = 10, 100
#: Names that an error lists, at most.
LISTED = 12


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says about the plot it wants. None: nothing is said."""

    output: str | None
    feature: str | None
    row: int
    max_display: int

    @classmethod
    def of(cls, query: Query) -> Wish:
        """Read the parameters. Raises BadParameterError."""
        return cls(
            query.text("output"),
            query.text("feature"),
            query.whole("row", 0, 0),
            query.whole("max_display", DISPLAYED, 1, MOST_DISPLAYED),
        )


@dataclass(frozen=True, slots=True)
class Source:
    """Where plots get their numbers and names from."""

    summaries: JobSummaries
    catalog: ModelCatalog


@dataclass(frozen=True, slots=True)
class Kind:
    """A plot's parameters, and the function that draws it. That may raise BadParameterError and what JobSummaries raises."""

    parameters: tuple[str, ...]
    draw: Callable[[Source, Job, Wish], Drawing]


def _bar(source: Source, job: Job, wish: Wish) -> Drawing:
    names = JobNames.of(job, source.catalog)
    output = _place("output", wish.output, names.outputs)
    mean_abs = source.summaries.of(job).moments.mean_abs[output]
    return draw_bar(BarFigures.of(mean_abs, names.features, wish.max_display), _title(job, names, output))


def _beeswarm(source: Source, job: Job, wish: Wish) -> Drawing:
    names = JobNames.of(job, source.catalog)
    output = _place("output", wish.output, names.outputs)
    digest = source.summaries.of(job)
    figures = BeeswarmFigures.of(
        digest.features,
        digest.explanation.values[:, output],
        digest.moments.mean_abs[output],
        names.features,
        wish.max_display,
    )
    return draw_beeswarm(figures, _title(job, names, output, shown=len(digest.features)))


def _waterfall(source: Source, job: Job, wish: Wish) -> Drawing:
    names = JobNames.of(job, source.catalog)
    output = _place("output", wish.output, names.outputs)
    if wish.row >= job.rows:
        raise BadParameterError(f"row={wish.row} is beyond the job's {job.rows} rows, which count from 0.")
    features, explanation = source.summaries.row(job, wish.row)
    values, base_value = explanation.values[0, output], float(explanation.base_values[0, output])
    figures = WaterfallFigures.of(features, values, base_value, names.columns, wish.max_display)
    return draw_waterfall(figures, f"{_title(job, names, output)}, row {wish.row}")


def _dependence(source: Source, job: Job, wish: Wish) -> Drawing:
    names = JobNames.of(job, source.catalog)
    output = _place("output", wish.output, names.outputs)
    digest = source.summaries.of(job)
    largest = int(np.argmax(digest.moments.mean_abs[output]))
    feature = _place("feature", wish.feature, names.features, default=largest)
    figures = DependenceFigures.of(
        feature, digest.features, digest.explanation.values[:, output], names.columns
    )
    return draw_dependence(figures, _title(job, names, output, shown=len(digest.features)))


KINDS = {
    "bar": Kind(("output", "max_display"), _bar),
    "beeswarm": Kind(("output", "max_display"), _beeswarm),
    "waterfall": Kind(("row", "output", "max_display"), _waterfall),
    "dependence": Kind(("feature", "output"), _dependence),
}


def _place(what: str, wanted: str | None, names: Sequence[str], default: int = 0) -> int:
    if wanted is None:
        return default
    if wanted in names:
        return list(names).index(wanted)
    more = ", …" if len(names) > LISTED else ""
    raise BadParameterError(
        f"The job has no {what} {wanted[:40]!r}: there is {', '.join(names[:LISTED])}{more}."
    )


def _title(job: Job, names: JobNames, output: int, shown: int | None = None) -> str:
    rows = f"{job.rows:,} rows" if job.rows > 1 else "1 row"
    if shown is not None and shown < job.rows:
        rows = f"{shown:,} of {rows}"
    of = f", output {names.outputs[output]}" if job.outputs > 1 else ""
    method = "" if job.method == "tree_path_dependent" else f", {job.method}"
    return f"{job.model}{of}{method}, {rows}"
