from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from services.api.components import Components
from services.api.http.concurrency_limits import STREAMS
from services.api.results import writer
from shapbox import NoAnswerError
from shared.jobs.document import Job
from tests.integration.api.api_client import API_KEY, CSV, JSON, NDJSON, NPY, InProcess, OverHttp

type Values = np.ndarray[Any, np.dtype[np.float32]]
type Done = Callable[[str, int], tuple[str, Values]]


@pytest.fixture
def done(client: InProcess, components: Components, finish: Callable[[Job], Values]) -> Done:
    """Make a completed job of so many rows; returns its result's address and values."""

    def make(model: str, rows: int) -> tuple[str, Values]:
        features = len(components.catalog.get(model).features)
        body = {"model": model, "rows": [[float(row)] * features for row in range(rows)]}
        job = components.store.get(client.post_json("/v1/jobs", body).json["id"])
        return f"/v1/jobs/{job.id}/result", finish(job)

    return make


def test_every_format_gives_the_stored_values_in_its_layout(
    client: InProcess, done: Done, components: Components
) -> None:
    for model, outputs in (("diabetes", 1), ("wine", 3)):
        path, stored = done(model, 25)
        result = client.get(path).json
        shape = () if outputs == 1 else (outputs,)
        values = stored[:, :, :-2].transpose(0, 2, 1).reshape(25, -1, *shape)
        np.testing.assert_array_equal(np.array(result["values"], np.float32), values)
        for name, place in (("base_values", -2), ("predictions", -1)):
            np.testing.assert_array_equal(result[name], stored[:, :, place].reshape(25, *shape))
        assert result["output_names"] == list(components.catalog.get(model).outputs)
        zipped = client.get(path, Accept_Encoding="gzip, br")
        assert zipped.headers["content-encoding"] == "gzip"
        assert json.loads(gzip.decompress(zipped.body)) == result
        rows = [json.loads(line) for line in client.get(path, Accept=NDJSON).body.splitlines()]
        assert [row["values"] for row in rows] == result["values"]
        lines = list(csv.reader(io.StringIO(client.get(path, Accept=CSV).body.decode())))
        assert lines[0][-2:] == ["base_value", "prediction"]
        table = np.array([line[outputs > 1 :] for line in lines[1:]], np.float32)
        np.testing.assert_array_equal(table.reshape(stored.shape), stored)
        reply = client.get(path, Accept=NPY)
        assert reply.headers["content-disposition"].endswith('.npy"')
        assert int(reply.headers["content-length"]) == len(reply.body)
        layout = stored[:, 0, :-1] if outputs == 1 else stored[:, :, :-1]
        np.testing.assert_array_equal(np.load(io.BytesIO(reply.body)), layout)
        for offset, limit in ((0, 1), (7, 9), (10, 10), (24, 5), (25, 1)):
            page = client.get(f"{path}?offset={offset}&limit={limit}", Accept=NPY).body
            np.testing.assert_array_equal(np.load(io.BytesIO(page)), layout[offset : offset + limit])
    for query in ("offset=26", "offset=-1", "limit=0", "limit=x", "start=1", "offset="):
        assert client.get(f"{path}?{query}").refusal == (400, "bad-parameter")
    assert client.get(path, Accept="application/xml").refusal == (406, "not-acceptable")


def test_the_result_of_an_active_job_is_not_ready_and_that_of_a_failed_one_says_why(
    client: InProcess, components: Components
) -> None:
    job = client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10]}).json
    reply = client.get(job["links"]["result"])
    assert reply.refusal == (409, "result-not-ready")
    assert int(reply.headers["retry-after"]) >= 1
    components.store.fail(job["id"], "poison-batch", "Rows 0 to 0 have ended 3 workers.")
    reply = client.get(job["links"]["result"])
    assert reply.refusal == (409, "job-failed")
    assert "Rows 0 to 0" in reply.detail
    assert reply.json["job"]["error"]["type"] == "/problems/poison-batch"


def test_a_result_whose_model_is_gone_is_still_given_and_one_that_is_missing_is_no_wrong_body(
    client: InProcess, done: Done, components: Components
) -> None:
    path, _ = done("diabetes", 1)
    del components.catalog._versions[("diabetes", 1)]
    assert client.get(path).json["feature_names"][:2] == ["f0", "f1"]
    components.payloads.delete_job(path.split("/")[3])
    reply = client.send("GET", path, b"", {"Authorization": f"Bearer {API_KEY}"})
    assert reply.refusal == (500, "payload-missing")
    assert "jobs/" not in reply.detail
    assert "Traceback" not in reply.body.decode()


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stream results that have more than a hundred numbers."""
    monkeypatch.setattr(writer, "WHOLE_NUMBERS", 100)


@pytest.mark.usefixtures("streamed")
def test_a_large_result_is_streamed_over_http_and_too_many_at_a_time_are_put_off(
    http: OverHttp, done: Done, components: Components
) -> None:
    path, stored = done("diabetes", 300)
    npy = http.get(path, Accept=NPY)
    assert int(npy.headers["content-length"]) == len(npy.body)
    np.testing.assert_array_equal(np.load(io.BytesIO(npy.body)), stored[:, 0, :-1])
    values = http.get(path).json["values"]
    np.testing.assert_array_equal(np.array(values, np.float32), stored[:, 0, :-2])
    head = http.call("HEAD", path, headers={"Accept": NPY})
    assert (head.status, head.headers["content-length"]) == (200, str(len(npy.body)))
    with contextlib.ExitStack() as others:
        for _ in range(STREAMS):
            others.enter_context(components.streams)
        reply = http.get(path)
    assert reply.refusal == (503, "busy")
    assert "content-disposition" not in reply.headers


@pytest.mark.usefixtures("streamed")
def test_a_job_deleted_while_its_result_is_streamed_breaks_the_connection(
    http: OverHttp,
    done: Done,
    components: Components,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., float],
) -> None:
    result, calls = components.payloads.result, []

    def get_and_delete(_: Any, job: Job, batch: int) -> Any:
        calls.append(batch)
        if batch == 20:
            components.payloads.delete_job(job.id)
        return result(job, batch)

    for accept in (JSON, NPY, CSV):
        path, _ = done("diabetes", 400)
        with monkeypatch.context() as patch:
            patch.setattr(type(components.payloads), "result", get_and_delete)
            with pytest.raises(
                NoAnswerError, match="closed connection without sending complete message body"
            ):
                http.get(path, Accept=accept)
        assert max(calls) == 20
        wait_until(lambda: components.streams._free._value == STREAMS)  # its place is given back
