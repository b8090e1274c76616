"""The jobs that clients submit, of many sizes, models, forms and methods, from the seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ops.lab.soak.row_pool import Form, Matrix, RowPool
from shared.jobs.document import Method
from shared.models.version import ModelVersion

#: Rows of a model's pool, and so of the largest job.
POOL_ROWS = 12_000
#: (rows at least, at most, parts of the sum): from one row to some dozens of batches.
SIZES = ((1, 1, 30), (2, 500, 35), (501, 4_000, 28), (4_001, POOL_ROWS, 7))
#: Rows of an interventional job, at most: shap takes milliseconds a row.
MOST_INTERVENTIONAL = 60
#: Shares of jobs: interventional ones, those sent twice, and those cancelled.
INTERVENTIONAL_SHARE, AGAIN_SHARE, CANCEL_SHARE = 0.04, 0.05, 0.06
#: Seconds until a job is cancelled, at most.
CANCEL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """Rows `first` to `first + rows` of a model's pool, sent under their own Idempotency-Key."""

    key: str
    model: str
    first: int
    rows: int
    method: Method = Method.TREE_PATH_DEPENDENT
    form: Form = Form.NPY
    #: Whether it goes to /v1/explain, which waits for the values.
    explain: bool = False
    #: Whether the same is sent a second time, after the first was accepted.
    again: bool = False
    #: Seconds after which it is cancelled, if it is.
    cancel_after: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A POST."""

    path: str
    body: bytes
    headers: Mapping[str, str]


class Pools:
    """The rows that planned_jobs are slices of, by model id."""

    def __init__(self, versions: Sequence[ModelVersion]) -> None:
        self._pools = {version.id: RowPool.of(version, POOL_ROWS) for version in versions}

    @property
    def models(self) -> Sequence[str]:
        """The ids of the models."""
        return list(self._pools)

    def rows(self, planned: PlannedJob) -> Matrix:
        """Return the rows of a planned: rows x features."""
        return self._pools[planned.model].rows[planned.first : planned.first + planned.rows]

    def reference(self, planned: PlannedJob) -> Matrix:
        """Return XGBoost's own values: rows x outputs x (features + 1), base value last."""
        return self._pools[planned.model].reference[planned.first : planned.first + planned.rows]

    def request(self, planned: PlannedJob) -> Request:
        """Return the request that a planned is sent as, each time the same."""
        body = self._pools[planned.model].body(planned.form, planned.first, planned.rows, planned.method)
        query = "" if planned.form is Form.JSON else f"?model={planned.model}&method={planned.method}"
        headers = {"Content-Type": planned.form.value, "Idempotency-Key": planned.key}
        if planned.explain:  # the answer is compared with the same eyes as a stored result
            headers |= {"Accept": "application/x-npy", "Prefer": "wait=10"}
        return Request(("/v1/explain" if planned.explain else "/v1/jobs") + query, body, headers)


def planned_jobs(models: Sequence[str], seed: int, client: int) -> Iterator[PlannedJob]:
    """Yield one client's jobs without end."""
    generator = random.Random(f"{seed}/{client}")  # noqa: S311  # repeatable on purpose
    for number in itertools.count():
        yield _draw(generator, f"chaos-{seed}-{client}-{number}", models)


def _draw(generator: random.Random, key: str, models: Sequence[str]) -> PlannedJob:
    least, most, _ = generator.choices(SIZES, [parts for _, _, parts in SIZES])[0]
    rows = generator.randint(least, most)
    model, form = generator.choice(models), generator.choice(list(Form))
    planned = PlannedJob(key, model, 0, rows, form=form, explain=rows == 1)
    if generator.random() < INTERVENTIONAL_SHARE:
        planned = replace(planned, method=Method.INTERVENTIONAL, rows=min(rows, MOST_INTERVENTIONAL))
    if not planned.explain and generator.random() < CANCEL_SHARE:
        planned = replace(planned, cancel_after=generator.uniform(0, CANCEL_SECONDS))
    return replace(
        planned, first=generator.randint(0, POOL_ROWS - planned.rows), again=generator.random() < AGAIN_SHARE
    )
