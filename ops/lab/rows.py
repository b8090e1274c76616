"""Rows to explain: a pool for each model with its expected values, and jobs cut from it."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
import orjson

from ops.lab.reference import Matrix, example_rows, interventional_contributions, reference_contributions
from shared.build import ROOT
from shared.jobs.document import Method
from shared.models.catalog import ModelCatalog
from shared.models.version import ModelVersion

#: Rows of a pool that interventional jobs are cut from: shap takes milliseconds for each.
INTERVENTIONAL_ROWS = 60
#: The share of results in a text format that are compared: reading text is slow.
CHECKED_SHARE = 0.2


class Form(StrEnum):
    """A media type of rows."""

    NPY = "application/x-npy"
    JSON = "application/json"
    CSV = "text/csv"


#: The media types of results.
RESULTS = (*Form, "application/x-ndjson")


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """Rows `first` to `first + rows` of a model's pool, and what happens to them."""

    key: str
    model: str
    first: int
    rows: int
    method: Method = Method.TREE_PATH_DEPENDENT
    form: Form = Form.NPY
    accept: str = Form.NPY
    #: Whether the result is compared.
    checked: bool = True
    #: Whether the same is sent a second time, after the first was accepted.
    again: bool = False
    #: Seconds after which it is cancelled, if it is.
    cancel_after: float | None = None

    @property
    def inline(self) -> bool:
        """Whether it goes to /v1/explain, which waits for the values."""
        return self.rows == 1


@dataclass(frozen=True, slots=True)
class Mixture:
    """The jobs of a load: sizes (rows at least, at most, parts of the sum), and shares of all."""

    sizes: Sequence[tuple[int, int, int]]
    accepts: Sequence[str] = (Form.NPY,)
    forms: Sequence[Form] = tuple(Form)
    interventional: float = 0.0
    again: float = 0.0
    cancelled: float = 0.0
    #: Seconds until a job is cancelled, at most.
    cancel_seconds: float = 2.0


def planned_jobs(models: Sequence[str], mixture: Mixture, seed: str) -> Iterator[PlannedJob]:
    """Yield one client's jobs without end. The same seed gives the same ones."""
    chance = random.Random(seed)  # noqa: S311  # repeatable on purpose
    pool_rows = max(most for _, most, _ in mixture.sizes)
    for number in itertools.count():
        least, most, _ = chance.choices(mixture.sizes, [parts for *_, parts in mixture.sizes])[0]
        rows, method, last = chance.randint(least, most), Method.TREE_PATH_DEPENDENT, pool_rows
        if chance.random() < mixture.interventional:
            last = min(INTERVENTIONAL_ROWS, pool_rows)
            rows, method = min(rows, last), Method.INTERVENTIONAL
        accept = Form.NPY if rows == 1 else chance.choice(mixture.accepts)
        cancelled = rows > 1 and chance.random() < mixture.cancelled
        yield PlannedJob(
            key=f"{seed}-{number}",
            model=chance.choice(models),
            first=chance.randint(0, last - rows),
            rows=rows,
            method=method,
            form=chance.choice(mixture.forms),
            accept=accept,
            checked=accept == Form.NPY or chance.random() < CHECKED_SHARE,
            again=chance.random() < mixture.again,
            cancel_after=chance.uniform(0, mixture.cancel_seconds) if cancelled else None,
        )


class RowPool:
    """One model's rows and their expected values; text forms are written once, when first used.

    Clients share the machine with what they measure: encoding and explaining the same rows over and over would
    take the CPU away from the appliance.
    """

    def __init__(self, version: ModelVersion, rows: Matrix, *, interventional: bool = False) -> None:
        """Explain the rows. Raises ModelFaultError if the model cannot be loaded."""
        self.version = version
        self.rows = rows
        values = reference_contributions(version.model_path, rows, version.contract.trees)
        self.expected = {Method.TREE_PATH_DEPENDENT: values}
        if interventional:
            some = interventional_contributions(version, rows[:INTERVENTIONAL_ROWS])
            self.expected[Method.INTERVENTIONAL] = some

    @classmethod
    def shipped(cls, rows: int) -> dict[str, RowPool]:
        """Return a pool of each shipped model, for both methods."""
        versions = ModelCatalog.load(ROOT / "models").latest()
        return {one.id: cls(one, example_rows(one, rows), interventional=True) for one in versions}

    def wanted(self, planned: PlannedJob) -> Matrix:
        """Return the expected values: rows x outputs x (features + 1), base value last."""
        return self.expected[planned.method][planned.first : planned.first + planned.rows]

    def body(self, planned: PlannedJob) -> bytes:
        """Return the rows as a request's body."""
        chosen = slice(planned.first, planned.first + planned.rows)
        if planned.form is Form.JSON:
            head = orjson.dumps({"model": planned.model, "method": planned.method})[:-1]
            return head + b',"rows":[' + b",".join(self._json[chosen]) + b"]}"
        if planned.form is Form.CSV:
            header = ",".join(f'"{name}"' for name in self.version.features).encode()
            lines = (line[1:-1].replace(b"null", b"") for line in self._json[chosen])
            return b"\n".join([header, *lines, b""])
        return as_npy(self.rows[chosen])

    @cached_property
    def _json(self) -> list[bytes]:
        return [orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in self.rows]


def as_npy(rows: Matrix) -> bytes:
    """Return rows as the content of a NumPy file."""
    body = io.BytesIO()
    np.save(body, rows, allow_pickle=False)
    return body.getvalue()


def read_result(media_type: str, body: bytes, outputs: int) -> Matrix:
    """Return rows x outputs x (features + 1), base value last. Raises ValueError or KeyError."""
    match media_type:
        case "application/x-npy":
            values = np.load(io.BytesIO(body), allow_pickle=False)
            return np.asarray(values, dtype=np.float32).reshape(len(values), outputs, -1)
        case "text/csv":
            return _read_csv(body, outputs)
        case "application/json":
            result = orjson.loads(body)
            return _joined(result["values"], result["base_values"], outputs)
        case _:
            rows = [orjson.loads(line) for line in body.splitlines()]
            return _joined([row["values"] for row in rows], [row["base_value"] for row in rows], outputs)


def _read_csv(body: bytes, outputs: int) -> Matrix:
    header, _, _ = body.partition(b"\r\n")
    named = 1 if outputs > 1 else 0  # the first column then tells the output's name
    columns = range(named, header.count(b","))  # all but the last, which is the prediction
    table = np.loadtxt(
        io.BytesIO(body), dtype=np.float32, delimiter=",", skiprows=1, usecols=columns, ndmin=2
    )
    return table.reshape(-1, outputs, table.shape[1])


def _joined(values: list[object], base_values: list[object], outputs: int) -> Matrix:
    contributions = np.asarray(values, dtype=np.float32).reshape(len(values), -1, outputs).swapaxes(1, 2)
    bases = np.asarray(base_values, dtype=np.float32).reshape(len(values), outputs, 1)
    return np.concatenate([contributions, bases], axis=2)
