"""Loads that end today's services in 512 MB: large JSON requests, and plots.

Four requests of 50,000 rows run at the same time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from xml.etree import ElementTree as ET

import numpy as np
import orjson
import pytest

from ops.container.box import Box
from ops.lab.memory import peak_of
from ops.lab.prove.pictures import fetch_pictures
from ops.lab.reference import EXACT, bare_explainer, distance
from ops.lab.trial_appliance import free_ports
from shapbox import Shapbox
from shared.build import ROOT
from shared.models.catalog import ModelCatalog
from tests.container.conftest import Say
from tests.support.faults.submitted import Matrix, Submitted, shaken_examples

#: Requests at the same time, and rows of each.
REQUESTS, ROWS = 4, 50_000
#: MB that the whole container takes meanwhile, at least (or nobody looked) and at most.
LEAST_MB, MOST_MB = 100, 350
#: Rows of each whose values are compared one by one; all are counted.
CHECKED = 2_000
#: Rows of the job that is drawn: enough for its batches to leave digests, so that nothing is read back.
DRAWN_ROWS = 60_000
MODELS = ModelCatalog.load(ROOT / "models")


@pytest.fixture(scope="module")
def large_box(image: str) -> Iterator[Box]:
    """Run a container whose batches are as large as they come."""
    name = f"shapbox-test-{os.getpid()}-large"
    running = Box(name, free_ports(1)[0], name, image=image)
    try:
        running.run()
        running.await_ready()
        yield running
    finally:
        running.remove(with_data=True)


@pytest.fixture(scope="module")
def rows() -> Matrix:
    return shaken_examples(MODELS.get("breast-cancer"), ROWS)


@contextmanager
def watched(box: Box, say: Say, what: str) -> Iterator[None]:
    """Fail if the container takes too much memory meanwhile, or a worker ends."""
    with peak_of(box.working_set_bytes) as peak:
        yield
    say(f"{what}: peak {peak.highest_mb:.0f} MB")
    assert LEAST_MB < peak.highest_mb < MOST_MB
    assert box.oom_kills() == 0
    assert "exited: worker" not in box.log()


def test_four_requests_of_50000_rows_are_answered_in_512_mb(large_box: Box, rows: Matrix, say: Say) -> None:
    body = orjson.dumps({"model": "breast-cancer", "rows": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {"Content-Type": "application/json", "Prefer": "wait=60"}

    def explain(_: int) -> list[list[list[float]]]:
        """Have rows explained in one call; if that takes too long, fetch the result later."""
        answer = large_box.call("POST", "/v1/explain", body, headers=headers)
        if answer.status == 202:
            path = answer.headers["location"]
            while not large_box.get(f"{path}?wait=60").json()["finished_at"]:
                pass
            answer = large_box.get(f"{path}/result")
        assert answer.status == 200, answer
        values: list[list[list[float]]] = orjson.loads(answer.body)["values"]
        return values

    with watched(large_box, say, f"{REQUESTS} x POST /v1/explain"), ThreadPoolExecutor(REQUESTS) as threads:
        answers = list(threads.map(explain, range(REQUESTS)))
    wanted = bare_explainer(MODELS.get("breast-cancer").model_path)(rows[:CHECKED])[:, :, :-1]
    for values in answers:
        assert len(values) == ROWS
        assert distance(np.array(values[:CHECKED], np.float32), wanted) <= EXACT


def test_four_jobs_of_50000_rows_are_explained_in_512_mb(large_box: Box, rows: Matrix, say: Say) -> None:
    body = orjson.dumps({"model": "breast-cancer", "rows": rows}, option=orjson.OPT_SERIALIZE_NUMPY)

    def submit(_: int) -> Submitted:
        answer = large_box.call("POST", "/v1/jobs", body, headers={"Content-Type": "application/json"})
        assert answer.status == 202, answer
        return Submitted(large_box, str(answer.json()["id"]), MODELS.get("breast-cancer"), rows)

    with watched(large_box, say, f"{REQUESTS} jobs"), ThreadPoolExecutor(REQUESTS) as threads:
        jobs = list(threads.map(submit, range(REQUESTS)))
        assert [job.finish()["status"] for job in jobs] == ["completed"] * REQUESTS
    assert len({job.id for job in jobs}) == REQUESTS
    for job in jobs:
        job.check_values()


def test_a_large_jobs_summary_is_exact_and_every_plot_comes_in_both_forms(large_box: Box, say: Say) -> None:
    version = MODELS.get("diabetes")
    with watched(large_box, say, f"plots of {DRAWN_ROWS:,} rows"):
        client = Shapbox(large_box.url, large_box.api_key)
        job = client.submit(shaken_examples(version, DRAWN_ROWS), model=version.id)
        values = job.result().values
        summary, *plots = fetch_pictures(large_box, job.id)
    say("\n    ".join(map(str, plots)))
    for feature in orjson.loads(summary.body)["outputs"][0]["features"]:
        own = values[:, version.features.index(feature["feature"])].astype(np.float64)
        assert feature["mean_abs"] == pytest.approx(np.abs(own).mean(), abs=1e-5)
        assert feature["deviation"] == pytest.approx(own.std(), abs=1e-5)
    for plot in plots:
        if plot.media_type == "image/png":
            assert plot.body.startswith(b"\x89PNG")
        else:
            assert "diabetes@1" in ET.fromstring(plot.body).get("aria-label", "")
