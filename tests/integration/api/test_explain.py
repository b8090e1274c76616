from __future__ import annotations

import gzip
import io
import json
import time

import numpy as np
import pytest

from services.api.components import Components
from tests.integration.api.api_client import InProcess, OverHttp

BODY = {"model": "diabetes", "rows": [[float(row)] * 10 for row in range(25)]}


@pytest.mark.usefixtures("finish_all")
def test_explain_answers_with_the_values_themselves(client: InProcess) -> None:
    reply = client.post_json("/v1/explain", BODY)
    assert reply.status == 200
    assert np.array(reply.json["values"]).shape == (25, 10)
    assert reply.headers["content-location"] == f"/v1/jobs/{reply.json['job']}/result"


@pytest.mark.usefixtures("finish_all")
def test_explain_honours_accept_gzip_and_pages(client: InProcess) -> None:
    body = json.dumps(BODY).encode()
    headers = {"Accept": "application/x-npy", "Accept_Encoding": "gzip"}
    reply = client.post("/v1/explain?offset=20&limit=3", body, "application/json", **headers)
    assert np.load(io.BytesIO(gzip.decompress(reply.body))).shape == (3, 11)


def test_explain_that_does_not_end_in_time_gives_the_job(client: InProcess) -> None:
    reply = client.post_json("/v1/explain", BODY, Prefer="wait=0")
    assert reply.status == 202
    assert reply.headers["location"] == reply.json["links"]["self"]
    assert reply.headers["preference-applied"] == "wait=0"


def test_explain_of_a_job_that_fails_says_why(client: InProcess, components: Components) -> None:
    job = client.post_json("/v1/explain?wait=0", BODY, Idempotency_Key="key-1").json
    components.store.fail(job["id"], "engine", "The model does not take these rows.")
    reply = client.post_json("/v1/explain?wait=0", BODY, Idempotency_Key="key-1")
    assert (reply.status, reply.slug) == (409, "job-failed")


def test_explain_refuses_what_it_cannot_answer_before_it_works(
    client: InProcess, nothing_is_left: object
) -> None:
    assert client.post_json("/v1/explain", BODY, Accept="image/png").status == 406
    assert client.post_json("/v1/explain?offset=26", BODY).status == 400
    assert callable(nothing_is_left)
    nothing_is_left()


@pytest.mark.usefixtures("finish_all")
def test_the_api_adds_few_milliseconds_to_one_row(http: OverHttp) -> None:
    """The fake worker looks every 5 ms; this bounds the api's own share generously."""
    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        assert http.post_json("/v1/explain", {"model": "diabetes", "rows": [[1.0] * 10]}).status == 200
        seconds.append(time.perf_counter() - started)
    assert sorted(seconds)[3] < 0.1  # the others may have waited for a processor
