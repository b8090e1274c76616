from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from services.api.components import Components
from services.api.http.access_log import StartResponse
from services.api.http.concurrency_limits import STREAMS
from services.api.results import writer
from services.api.results.ranges import cut, measure
from shapbox import NoAnswerError
from shared.errors import HttpError
from shared.jobs.document import Job
from tests.integration.api.api_client import API_KEY, CSV, JSON, NDJSON, NPY, InProcess, OverHttp
from tests.integration.api.served import ASK, Serve, say_length
from tests.support.redis_server import until

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
        reply = http.get(path, Range="bytes=-1", Accept=NPY)
        assert "content-range" not in reply.headers
        assert http.get(path).refusal == reply.refusal
    assert reply.refusal == (503, "busy")
    assert "content-disposition" not in reply.headers


@pytest.mark.parametrize("is_streamed", [False, True])
def test_each_part_of_a_result_is_that_of_the_whole_and_only_one_part_is_given(
    client: InProcess, done: Done, monkeypatch: pytest.MonkeyPatch, *, is_streamed: bool
) -> None:
    monkeypatch.setattr(writer, "WHOLE_NUMBERS", 100 if is_streamed else 10**6)
    tags = set()
    for model, query in (("diabetes", ""), ("wine", ""), ("wine", "?offset=7&limit=40")):
        path = done(model, 55)[0] + query
        for accept in (JSON, NDJSON, CSV, NPY):
            whole = client.get(path, Accept=accept)
            tag, length, body = whole.headers["etag"], len(whole.body), whole.body
            assert (whole.headers["accept-ranges"], tag[0]) == ("bytes", '"')
            tags.add(tag)
            middle, end = length // 2, length - 1
            for asked, first, last in (
                *(
                    ("0-", 0, end),
                    ("0-0", 0, 0),
                    (f"{end}-", end, end),
                    (f"{middle}-{middle + 99}", middle, middle + 99),
                ),
                *(
                    (f"{middle}-{'9' * 40}", middle, end),
                    ("-7", end - 6, end),
                    (f"-{'9' * 40}", 0, end),
                    ("130-", 130, end),
                ),
            ):
                for more in ({}, {"If_Range": tag}):
                    part = client.get(path, Accept=accept, Range=f"bytes={asked}", **more)
                    assert (part.status, part.headers["etag"]) == (206, tag)
                    assert part.headers["content-range"] == f"bytes {first}-{last}/{length}"
                    assert int(part.headers["content-length"]) == last - first + 1
                    assert part.body == body[first : last + 1], (accept, asked)
            for asked in (f"{length}-", "-0", f"{'9' * 40}-"):
                refused = client.get(path, Accept=accept, Range=f"bytes={asked}")
                assert refused.refusal == (416, "range-not-satisfiable")
                assert refused.headers["content-range"] == f"bytes */{length}"
                assert "etag" not in refused.headers
            for ignored in (
                *({"Range": f"bytes={'0-0,' * 999}5-9"}, {"Range": "rows=0-1"}, {"Range": "bytes=9-3"}),
                *(
                    {"Range": "bytes=-"},
                    {"Range": f"bytes={'9' * 50}-"},
                    {"Range": "bytes=0-0", "If_Range": f"W/{tag}"},
                ),
                {"Range": "bytes=0-0", "If_Range": '"other"'},
            ):
                given = client.get(path, Accept=accept, **ignored)
                assert (given.status, given.body) == (200, body)
        raw = client.get(f"{path}{'&' if query else '?'}csv_safe=false", Accept=CSV)
        tags.add(raw.headers["etag"])
        zipped = client.get(path, Accept=CSV, Accept_Encoding="gzip", Range="bytes=5-")
        assert (zipped.status, "etag" in zipped.headers) == (200, False)
        head = client.call("HEAD", path, headers={"Accept": NPY, "Range": "bytes=5-"})
        assert (head.status, head.headers["etag"]) == (200, tag)
    assert len(tags) == 15


@pytest.mark.usefixtures("streamed")
def test_rows_before_a_part_of_an_npy_file_are_not_read_and_a_result_is_counted_once(
    client: InProcess, done: Done, components: Components, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    result = components.payloads.result

    def note(_: Any, job: Job, batch: int) -> Any:
        read.append(batch)
        return result(job, batch)

    path, _ = done("diabetes", 100)
    whole = client.get(path, Accept=NPY).body
    monkeypatch.setattr(type(components.payloads), "result", note)
    assert client.get(path, Accept=NPY, Range=f"bytes={len(whole) - 50}-").body == whole[-50:]
    assert read == [9]
    for expected in (20, 10):
        read.clear()
        assert client.get(path, Accept=CSV, Range="bytes=-5").status == 206
        assert read == [*range(10)] * (expected // 10)


def test_what_is_made_for_nobody_ends_when_the_client_leaves(serve: Serve) -> None:
    left: list[bool] = []

    def make(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        left.append(environ["shapbox.client_left"]())
        asking.close()
        with pytest.raises(HttpError):
            measure(itertools.repeat(b"x"), environ["shapbox.client_left"])
        with pytest.raises(HttpError):
            list(cut(itertools.repeat(b"x"), range(10**12, 10**12 + 1), environ["shapbox.client_left"]))
        left.append(True)
        return say_length(environ, start_response)  # type: ignore[return-value]

    asking = serve(make).connect()
    asking.sendall(ASK)
    until(lambda: left == [False, True])


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
