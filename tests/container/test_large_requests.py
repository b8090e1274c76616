"""Four JSON requests of 50,000 rows at the same time: what ends today's services in 512 MB."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import numpy as np
import orjson
import pytest

from ops.container.box import Box
from ops.container.peak import peak_of
from ops.http_call import Answer
from ops.lab.reference import EXACT, bare_explainer, distance
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from tests.appliance.faults.submitted import Matrix, Submitted, shaken_examples
from tests.container.conftest import MakeBox, Say

#: Requests at the same time, and rows of each.
REQUESTS, ROWS = 4, 50_000
#: MB that the whole container takes meanwhile, at least (or nobody looked) and at most.
LEAST_MB, MOST_MB = 100, 350
#: Rows of each whose values are compared one by one; all are counted.
CHECKED = 2_000


@pytest.fixture(scope="module")
def rows() -> Matrix:
    return shaken_examples(ModelCatalog.load(ROOT / "models").get("breast-cancer"), ROWS)


@pytest.fixture(scope="module")
def body(rows: Matrix) -> bytes:
    return orjson.dumps({"model": "breast-cancer", "rows": rows}, option=orjson.OPT_SERIALIZE_NUMPY)


@pytest.fixture
def box(make_box: MakeBox) -> Box:
    running = make_box(BATCH_ROWS="")  # as large as they come
    running.run()
    running.await_ready()
    return running


def test_four_synchronous_requests_of_50000_rows_are_answered_in_512_mb(
    box: Box, rows: Matrix, body: bytes, say: Say
) -> None:
    with peak_of(box) as peak, ThreadPoolExecutor(REQUESTS) as threads:
        answers = list(threads.map(explain, repeat(box, REQUESTS), repeat(body)))
    say(f"{REQUESTS} x POST /v1/explain of {ROWS:,} rows as JSON: peak {peak.highest_mb:.0f} MB")
    for answer in answers:
        values = orjson.loads(answer.body)["values"]
        assert len(values) == ROWS
        wanted = bare_explainer(ModelCatalog.load(ROOT / "models").get("breast-cancer").model_path)(
            rows[:CHECKED]
        )
        assert distance(np.array(values[:CHECKED], np.float32), wanted[:, :, :-1]) <= EXACT
    assert LEAST_MB < peak.highest_mb < MOST_MB
    assert box.oom_kills() == 0
    assert "exited: worker" not in box.log()


def test_four_jobs_of_50000_rows_are_explained_in_512_mb(
    box: Box, rows: Matrix, body: bytes, say: Say
) -> None:
    version = ModelCatalog.load(ROOT / "models").get("breast-cancer")
    with peak_of(box) as peak, ThreadPoolExecutor(REQUESTS) as threads:
        ids = list(threads.map(accept, repeat(box, REQUESTS), repeat(body)))
        jobs = [Submitted(box, job_id, version, rows) for job_id in ids]
        for job in jobs:
            assert job.finish()["status"] == "completed"
    say(f"{REQUESTS} jobs of {ROWS:,} rows as JSON: peak {peak.highest_mb:.0f} MB")
    for job in jobs:
        job.check_values()
    assert len(set(ids)) == REQUESTS
    assert LEAST_MB < peak.highest_mb < MOST_MB
    assert box.oom_kills() == 0


def explain(box: Box, body: bytes) -> Answer:
    """Have rows explained in one call; if that takes too long, fetch the result later."""
    headers = {"Content-Type": "application/json", "Prefer": "wait=60"}
    answer = box.call("POST", "/v1/explain", body, headers=headers)
    if answer.status == 202:
        path = answer.headers["location"]
        while not box.get(f"{path}?wait=60").json()["finished_at"]:
            pass
        answer = box.get(f"{path}/result")
    assert answer.status == 200, answer
    return answer


def accept(box: Box, body: bytes) -> str:
    answer = box.call("POST", "/v1/jobs", body, headers={"Content-Type": "application/json"})
    assert answer.status == 202, answer
    return str(answer.json()["id"])
