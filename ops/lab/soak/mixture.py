"""The jobs of clients on a real day: sizes, models, forms and methods in a fixed mixture."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ops.lab.soak.results import ACCEPTS
from ops.lab.soak.row_pool import Form

#: Rows of the smallest job and of the largest. Small ones are as many as large ones: sizes are log-uniform.
LEAST_ROWS, MOST_ROWS = 500, 20_000
#: The share of jobs whose values are interventional, and their rows: each takes a worker seconds.
INTERVENTIONAL_SHARE, INTERVENTIONAL_ROWS = 0.02, 100
#: The share of results that are compared to the last value, beside all that come as NPY: reading text is slow.
CHECKED_SHARE = 0.2
#: How often each form of rows comes.
FORMS = {Form.NPY: 4, Form.JSON: 3, Form.CSV: 3}
#: The two methods.
EXACT, INTERVENTIONAL = "tree_path_dependent", "interventional"


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """One job of a client: rows of a model's pool, the form to send, and the form to fetch."""

    model: str
    form: Form
    first: int
    rows: int
    method: str
    accept: str
    checked: bool


def planned_jobs(models: Sequence[str], pool_rows: int, seed: int) -> Iterator[PlannedJob]:
    """Yield one client's jobs without end. The same seed gives the same ones."""
    chance = random.Random(seed)  # noqa: S311  # a mixture, no secret
    most = min(MOST_ROWS, pool_rows)
    while True:
        interventional = chance.random() < INTERVENTIONAL_SHARE
        drawn = round(math.exp(chance.uniform(math.log(LEAST_ROWS), math.log(most))))
        rows = INTERVENTIONAL_ROWS if interventional else min(drawn, most)
        accept = chance.choice(ACCEPTS)
        yield PlannedJob(
            model=chance.choice(models),
            form=chance.choices(list(FORMS), list(FORMS.values()))[0],
            first=chance.randrange(pool_rows - rows + 1),
            rows=rows,
            method=INTERVENTIONAL if interventional else EXACT,
            accept=accept,
            checked=accept == "application/x-npy" or chance.random() < CHECKED_SHARE,
        )
