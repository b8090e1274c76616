from __future__ import annotations

import contextlib
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
from shared.jobs.document import Job
from tests.integration.api.api_client import InProcess, OverHttp

type Finish = Callable[[Job], np.ndarray[Any, np.dtype[np.float32]]]


@pytest.fixture
def done(
    client: InProcess, components: Components, finish: Finish
) -> Callable[[str, int], tuple[str, np.ndarray]]:
    """Make a completed job of so many rows; returns its result's address and values."""

    def make(model: str, rows: int) -> tuple[str, np.ndarray]:
        features = len(components.catalog.get(model).features)
        body = {"model": model, "rows": [[float(row)] * features for row in range(rows)]}
        job = components.store.get(client.post_json("/v1/jobs", body).json["id"])
        return f"/v1/jobs/{job.id}/result", finish(job)

    return make


type Done = Callable[[str, int], tuple[str, np.ndarray]]


def test_a_result_of_one_output_has_two_dimensional_values(client: InProcess, done: Done) -> None:
    path, stored = done("diabetes", 25)
    result = client.get(path).json
    np.testing.assert_array_equal(np.array(result["values"], np.float32), stored[:, 0, :-2])
    np.testing.assert_array_equal(np.array(result["base_values"], np.float32), stored[:, 0, -2])
    np.testing.assert_array_equal(np.array(result["predictions"], np.float32), stored[:, 0, -1])


def test_a_result_of_several_outputs_has_them_last(
    client: InProcess, done: Done, components: Components
) -> None:
    path, stored = done("wine", 25)
    result = client.get(path).json
    np.testing.assert_array_equal(
        np.array(result["values"], np.float32), stored[:, :, :-2].transpose(0, 2, 1)
    )
    assert np.array(result["base_values"]).shape == (25, 3)
    assert result["output_names"] == list(components.catalog.get("wine").outputs)


def test_npy_is_laid_out_as_pred_contribs(client: InProcess, done: Done) -> None:
    path, stored = done("wine", 25)
    reply = client.get(path, Accept="application/x-npy")
    np.testing.assert_array_equal(np.load(io.BytesIO(reply.body)), stored[:, :, :-1])
    assert reply.headers["content-disposition"].endswith('.npy"')
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_a_page_gives_the_rows_that_it_names(client: InProcess, done: Done) -> None:
    path, stored = done("diabetes", 25)
    for offset, limit in ((0, 1), (7, 9), (10, 10), (24, 5), (25, 1)):
        reply = client.get(f"{path}?offset={offset}&limit={limit}", Accept="application/x-npy")
        expected = stored[offset : offset + limit, 0, :-1]
        np.testing.assert_array_equal(np.load(io.BytesIO(reply.body)), expected)


@pytest.mark.parametrize("query", ["offset=26", "offset=-1", "limit=0", "limit=x", "start=1", "offset="])
def test_a_page_that_makes_no_sense_is_refused(client: InProcess, done: Done, query: str) -> None:
    path, _ = done("diabetes", 25)
    reply = client.get(f"{path}?{query}")
    assert (reply.status, reply.slug) == (400, "bad-parameter")


def test_csv_and_ndjson_agree_with_json(client: InProcess, done: Done) -> None:
    path, stored = done("diabetes", 12)
    lines = client.get(path, Accept="text/csv").body.decode().splitlines()
    assert lines[0].split(",")[-2:] == ["base_value", "prediction"]
    np.testing.assert_array_equal(
        np.array([line.split(",") for line in lines[1:]], np.float32), stored[:, 0, :]
    )
    rows = [json.loads(line) for line in client.get(path, Accept="application/x-ndjson").body.splitlines()]
    np.testing.assert_array_equal(np.array([row["values"] for row in rows], np.float32), stored[:, 0, :-2])


def test_a_result_is_compressed_if_the_client_asks_for_it(client: InProcess, done: Done) -> None:
    path, _ = done("diabetes", 12)
    plain = client.get(path)
    zipped = client.get(path, Accept_Encoding="gzip, br")
    assert zipped.headers["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body


def test_a_representation_that_cannot_be_written_is_refused(client: InProcess, done: Done) -> None:
    path, _ = done("diabetes", 1)
    reply = client.get(path, Accept="application/xml")
    assert (reply.status, reply.slug) == (406, "not-acceptable")


def test_the_result_of_an_active_job_is_not_ready(client: InProcess) -> None:
    job = client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10]}).json
    reply = client.get(job["links"]["result"])
    assert (reply.status, reply.slug) == (409, "result-not-ready")
    assert int(reply.headers["retry-after"]) >= 1


def test_the_result_of_a_failed_job_says_why(client: InProcess, components: Components) -> None:
    job = client.post_json("/v1/jobs", {"model": "diabetes", "rows": [[1.0] * 10]}).json
    components.store.fail(job["id"], "poison-batch", "Rows 0 to 0 have ended 3 workers.")
    reply = client.get(job["links"]["result"])
    assert (reply.status, reply.slug) == (409, "job-failed")
    assert "Rows 0 to 0" in reply.detail
    assert reply.json["job"]["error"]["type"] == "/problems/poison-batch"


def test_a_result_whose_model_is_gone_is_still_given(
    client: InProcess, done: Done, components: Components
) -> None:
    path, _ = done("diabetes", 1)
    del components.catalog._versions[("diabetes", 1)]
    assert client.get(path).json["feature_names"][:2] == ["f0", "f1"]


def test_a_result_that_is_missing_from_the_store_is_no_wrong_body(
    client: InProcess, done: Done, components: Components
) -> None:
    path, _ = done("diabetes", 1)
    components.payloads.delete_job(path.split("/")[3])
    reply = client.send("GET", path, b"", {"Authorization": "Bearer api-key-of-the-tests"})
    assert (reply.status, reply.slug) == (500, "payload-missing")
    assert "jobs/" not in reply.detail
    assert "Traceback" not in reply.body.decode()


def test_a_large_result_is_streamed_over_http(
    http: OverHttp, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WHOLE_NUMBERS", 100)
    path, stored = done("diabetes", 1200)
    npy = http.get(path, Accept="application/x-npy")
    assert int(npy.headers["content-length"]) == len(npy.body)
    np.testing.assert_array_equal(np.load(io.BytesIO(npy.body)), stored[:, 0, :-1])
    values = http.get(path).json["values"]
    np.testing.assert_array_equal(np.array(values, np.float32), stored[:, 0, :-2])
    head = http.call("HEAD", path, headers={"Accept": "application/x-npy"})
    assert (head.status, head.headers["content-length"]) == (200, str(len(npy.body)))


@pytest.mark.parametrize("accept", ["application/json", "application/x-npy", "text/csv"])
def test_a_job_deleted_while_its_result_is_streamed_breaks_the_connection(
    http: OverHttp,
    done: Done,
    components: Components,
    monkeypatch: pytest.MonkeyPatch,
    accept: str,
    wait_until: Callable[..., float],
) -> None:
    monkeypatch.setattr(writer, "WHOLE_NUMBERS", 100)
    path, _ = done("diabetes", 1200)
    result, calls = components.payloads.result, []

    def get_and_delete(_: Any, job: Job, batch: int) -> Any:
        calls.append(batch)
        if batch == 60:
            components.payloads.delete_job(job.id)
        return result(job, batch)

    monkeypatch.setattr(type(components.payloads), "result", get_and_delete)
    with pytest.raises(Exception, match="IncompleteRead"):
        http.get(path, Accept=accept)
    assert max(calls) == 60
    monkeypatch.undo()
    wait_until(lambda: components.streams._free._value == STREAMS)  # its place is given back


def test_too_many_streams_at_a_time_are_told_to_come_again(
    http: OverHttp, done: Done, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WHOLE_NUMBERS", 100)
    path, _ = done("diabetes", 1200)
    with contextlib.ExitStack() as others:
        for _ in range(STREAMS):
            others.enter_context(components.streams)
        reply = http.get(path)
    assert (reply.status, reply.slug) == (503, "busy")
    assert "content-disposition" not in reply.headers
