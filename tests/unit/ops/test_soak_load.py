from __future__ import annotations

import csv
import io
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pytest

from ops.lab.soak.mixture import EXACT, INTERVENTIONAL_ROWS, LEAST_ROWS, MOST_ROWS, planned_jobs
from ops.lab.soak.results import ACCEPTS, Matrix, fault_in_sums, fault_in_values, read_result
from ops.lab.soak.row_pool import Form, RowPool
from shared.build import ROOT
from shared.models.catalog import ModelCatalog

MODELS = ("breast-cancer@1", "diabetes@1", "wine@1")


@pytest.fixture(scope="module")
def pool() -> RowPool:
    return RowPool.of(ModelCatalog.load(ROOT / "models").get("wine"), rows=40)


def test_the_same_seed_gives_the_same_jobs_and_another_others() -> None:
    first = list(islice(planned_jobs(MODELS, 20_000, seed=1), 50))

    assert first == list(islice(planned_jobs(MODELS, 20_000, seed=1), 50))
    assert first != list(islice(planned_jobs(MODELS, 20_000, seed=2), 50))


def test_a_days_mixture_has_everything_in_it_and_stays_within_the_pool() -> None:
    some = list(islice(planned_jobs(MODELS, 20_000, seed=3), 2000))
    exact = [planned.rows for planned in some if planned.method == EXACT]

    assert {planned.model for planned in some} == set(MODELS)
    assert {planned.form for planned in some} == set(Form)
    assert {planned.accept for planned in some} == set(ACCEPTS)
    assert {planned.rows for planned in some if planned.method != EXACT} == {INTERVENTIONAL_ROWS}
    assert LEAST_ROWS <= min(exact) < 600
    assert 15_000 < max(exact) <= MOST_ROWS
    assert all(planned.first + planned.rows <= 20_000 for planned in some)
    assert 0 < len(some) - len(exact) < 100


def test_a_body_holds_the_same_rows_in_each_form(pool: RowPool) -> None:
    wanted = pool.rows[7:12]
    as_npy = np.load(io.BytesIO(pool.body(Form.NPY, 7, 5, EXACT)))
    as_json = orjson.loads(pool.body(Form.JSON, 7, 5, EXACT))
    table = list(csv.reader(io.StringIO(pool.body(Form.CSV, 7, 5, EXACT).decode())))

    np.testing.assert_array_equal(as_npy, wanted)
    np.testing.assert_array_equal(np.array(as_json["rows"], dtype=np.float32), wanted)
    np.testing.assert_array_equal(np.array(table[1:], dtype=np.float32), wanted)
    assert table[0] == list(pool.version.features)
    assert (as_json["model"], as_json["method"]) == ("wine@1", EXACT)


def written(accept: str, values: Matrix) -> bytes:
    """Write rows x outputs x (features + 1) as docs/api.md says."""
    rows, outputs, _ = values.shape
    margins = values.sum(axis=2)
    if accept == "application/x-npy":
        body = io.BytesIO()
        np.save(body, values if outputs > 1 else values[:, 0])
        return body.getvalue()
    if accept == "text/csv":
        head = [
            *(["output"] if outputs > 1 else []),
            *(f"f{n}" for n in range(values.shape[2] - 1)),
            "base",
            "p",
        ]
        lines = [",".join(head)]
        for row in range(rows):
            for output in range(outputs):
                numbers = [*values[row, output].tolist(), float(margins[row, output])]
                lines.append(",".join([*(["out"] if outputs > 1 else []), *map(repr, numbers)]))
        return ("\r\n".join(lines) + "\r\n").encode()
    by_feature: Any = values[:, :, :-1].swapaxes(1, 2)
    by_feature = (by_feature if outputs > 1 else by_feature[:, :, 0]).tolist()
    bases = (values[:, :, -1] if outputs > 1 else values[:, 0, -1]).tolist()
    if accept == "application/json":
        return orjson.dumps({"values": by_feature, "base_values": bases})
    return b"".join(
        orjson.dumps({"values": v, "base_value": b}) + b"\n" for v, b in zip(by_feature, bases, strict=True)
    )


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_result_is_read_in_each_representation(accept: str, outputs: int) -> None:
    values = np.random.default_rng(1).normal(size=(6, outputs, 5)).astype(np.float32)

    np.testing.assert_array_equal(read_result(accept, written(accept, values), outputs), values)


def test_one_wrong_value_is_found(pool: RowPool) -> None:
    given = pool.reference.copy()
    assert fault_in_values(given, pool.reference) is None

    given[3, 1, 2] += 1e-3

    assert "at (3, 1, 2)" in (fault_in_values(given, pool.reference) or "")


def test_a_missing_row_and_a_nan_are_wrong(pool: RowPool) -> None:
    with_nan = pool.reference.copy()
    with_nan[0, 0, 0] = np.nan

    assert fault_in_values(pool.reference[:-1], pool.reference) is not None
    assert fault_in_values(with_nan, pool.reference) is not None
    assert fault_in_sums(with_nan, pool.reference) is not None


def test_interventional_values_must_reach_the_margin(pool: RowPool) -> None:
    moved = pool.reference.copy()
    moved[:, :, 0] += 1
    moved[:, :, 1] -= 1
    assert fault_in_sums(moved, pool.reference) is None

    moved[5, 2, 1] += 0.1

    assert "at (5, 2)" in (fault_in_sums(moved, pool.reference) or "")
