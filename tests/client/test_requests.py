"""How requests are made: bare calls, repetitions, and what the client refuses to send.

Where a server must break off at a given byte, it follows a script.
"""

from __future__ import annotations

import ast
import asyncio
import gc
import gzip
import json
import logging
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import shapbox
from ops.lab.trial_appliance import Appliance
from shapbox import AsyncShapbox, NoAnswerError, RefusedError, Shapbox
from shapbox.exchange import Address
from shared.build import ROOT, VERSION
from tests.client.conftest import Script, in_thread, reply

MODELS = reply(200, b'{"models": []}')
JOB = b'{"id": "a1", "status": "%b", "model": "m@1", "batches": {"total": 1, "completed": 0}}'


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shapbox.repeats._FIRST_PAUSE", 0.01)


@pytest.fixture(params=["blocking", "asynchronous"])
def models_of(request: pytest.FixtureRequest) -> Any:
    """Return what lists the models of a server, by one of the two clients."""

    async def ask(url: str, patience: float) -> Any:
        async with AsyncShapbox(url, "key", patience=patience) as box:
            return await box.models()

    if request.param == "asynchronous":
        return lambda url, patience=30.0: in_thread(lambda: asyncio.run(ask(url, patience)))
    return lambda url, patience=30.0: Shapbox(url, "key", patience=patience).models()


def test_a_call_gives_status_headers_and_body_without_an_exception(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Shapbox(f"{appliance.url}/", appliance.api_key)
    answer = box.call("GET", "/v1/models")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert box.call("GET", "/v1/jobs/nothing").status == 404
    assert box.call("GET", "/v1/models", headers={"authorization": "Bearer wrong"}).status == 401
    assert Shapbox(appliance.url, "").call("GET", "/v1/models").status == 401
    rows = [b'{"model": "diabetes", "rows": [', b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]}"]
    for body in (b"".join(rows), iter(rows)):
        given = box.call("POST", "/v1/explain", body, {"Content-Type": "application/json"})
        assert given.status == 200, given
    assert box.call("POST", "/v1/explain").status == 415
    monkeypatch.setenv("SHAPBOX_URL", appliance.url)
    monkeypatch.setenv("SHAPBOX_API_KEY", f"{appliance.api_key}\n")
    assert Shapbox().models()
    gc.collect()  # a connection that is left open gives a ResourceWarning, which fails this test


def test_a_call_is_made_once_and_a_missing_answer_is_a_connection_error(script: Script) -> None:
    packed = gzip.compress(b"packed")
    script.responses += [b"", reply(200, b"half", Content_Length="8"), reply(503)]
    script.responses += [reply(200, packed, Content_Encoding="gzip")]
    box = Shapbox(script.url, "key")
    for _ in range(2):
        with pytest.raises(NoAnswerError, match="/healthz was not answered") as caught:
            box.call("GET", "/healthz")
        assert isinstance(caught.value, ConnectionError)
    assert box.call("POST", "/healthz").status == 503
    assert len(script.requests) == 3
    assert b"content-length: 0\r\n" in script.requests[-1].lower()
    assert box.call("GET", "/").body == packed  # as it was sent


def test_not_now_is_repeated_as_retry_after_says(
    script: Script, models_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    problem = b'{"type": "/problems/queue-full", "detail": "The queue is full."}'
    script.responses += [
        reply(429, problem, Retry_After="0"),
        reply(503, Retry_After="0.02"),
        reply(507, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT"),
        reply(502, b"<html>"),
        b"",
        reply(200, b"half", Content_Length="50"),
        MODELS,
    ]
    with caplog.at_level(logging.WARNING, "shapbox"):
        assert models_of(script.url) == []
    assert len(script.requests) == 7
    assert "The queue is full. (429, queue-full); trying again in 0.0 s" in caplog.text


def test_other_refusals_are_final_and_patience_ends(script: Script, models_of: Any) -> None:
    for status in (400, 500):
        script.responses += [reply(status, b"gone wrong")]
        with pytest.raises(RefusedError, match=f"gone wrong \\({status}, http-{status}\\)"):
            models_of(script.url)
    script.responses += [reply(301, b"<html>", Location="https://shap.example.com/")]
    with pytest.raises(RefusedError, match=r"redirected to https://shap.example.com/"):
        models_of(script.url)
    problem = {"detail": "no", "errors": ["x", {"row": 1, "new": 2}]}  # another server's
    script.responses += [reply(400, json.dumps(problem).encode())]
    with pytest.raises(RefusedError) as refusal:
        models_of(script.url)
    assert [(error.row, error.column) for error in refusal.value.errors] == [(1, None)]
    script.responses += [reply(503, Retry_After="60"), b""]
    with pytest.raises(RefusedError):
        models_of(script.url)
    with pytest.raises(NoAnswerError):
        models_of(script.url, patience=0)


def test_a_job_is_submitted_once_however_often_it_is_sent(script: Script) -> None:
    script.responses += [b"", reply(503, Retry_After="0"), reply(202, JOB % b"queued")]
    job = Shapbox(script.url, "key").submit([[1, 2]], "m")
    assert job.id == "a1"
    keys = [re.findall(rb"idempotency-key: (\S+)\r\n", text.lower()) for text in script.requests]
    assert len(keys) == 3
    assert keys[0] == keys[1] == keys[2] != []
    assert {text.partition(b"\r\n\r\n")[2] for text in script.requests} == {b"[1, 2]\n"}


def test_a_broken_download_starts_anew(script: Script, tmp_path: Path) -> None:
    lines = b"a,b\r\n1,2\r\n"
    script.responses += [
        reply(200, JOB % b"completed"),
        reply(200, lines[:5] + b"rubbish", Content_Length="50"),
        reply(503, b"{}", Retry_After="0"),
        reply(200, lines),
        reply(404),
    ]
    job = Shapbox(script.url, "key").job("a1")
    job.save(tmp_path / "values.csv")
    assert (tmp_path / "values.csv").read_bytes() == lines
    with pytest.raises(RefusedError):
        job.save(tmp_path / "other.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["values.csv"]


def test_a_broken_download_goes_on_where_it_ended_if_the_bytes_are_the_same(
    script: Script, tmp_path: Path
) -> None:
    whole = bytes(range(200)) * 5
    same = {"Accept_Ranges": "bytes", "ETag": '"one"'}

    def part(first: int, last: int, tag: str = '"one"') -> bytes:
        content_range = f"bytes {first}-{last}/1000"
        return reply(206, whole[first : last + 1], ETag=tag, Content_Range=content_range)

    cut_off = reply(200, whole[:300], **{**same, "Content_Length": "1000"})
    cut_again = part(300, 999)[:-500]
    for answers, asked in (
        ([cut_off, reply(503, b"{}", Retry_After="0"), cut_again, part(500, 999)], [None, 300, 300, 500]),
        ([cut_off, reply(200, whole[::-1][:100], **same)], [None, 300]),  # it is another result by now
        ([cut_off, part(0, 999), reply(200, whole, **same)], [None, 300, None]),  # not what was asked for
        ([cut_off, reply(416, b"{}", Retry_After="0"), reply(200, whole)], [None, 300, None]),
        ([reply(200, whole[:300], ETag='W/"one"', Content_Length="1000"), reply(200, whole)], [None, None]),
    ):
        for saves in (True, False):
            script.requests.clear()
            script.responses += [reply(200, JOB % b"completed"), *answers]
            job = Shapbox(script.url, "key").job("a1")
            if saves:
                job.save(tmp_path / "values.csv")
                received = (tmp_path / "values.csv").read_bytes()
            else:
                received = job.fetch("text/csv")
            assert received == (whole[::-1][:100] if len(asked) == 2 and asked[1] else whole)
            sent = [text.lower() for text in script.requests[1:]]
            ranges = [re.search(rb"\r\nrange: bytes=(\d+)-\r\n", text) for text in sent]
            assert [int(found[1]) if found else None for found in ranges] == asked
            assert [b'if-range: "one"' in text for text in sent] == [bool(found) for found in ranges]
    answer = Shapbox(script.url, "key")
    script.responses += [part(0, 9)]
    assert answer.call("GET", "/x", headers={"Range": "bytes=0-9"}).body == whole[:10]


@pytest.mark.parametrize(
    ("answers", "sent"),
    [
        ([reply(204), reply(200, JOB % b"cancelled")], "DELETE GET"),
        ([b"", reply(409), reply(200, JOB % b"cancelled")], "DELETE DELETE GET"),
        ([reply(409), reply(200, JOB % b"completed")], "DELETE GET"),
        ([reply(403)], "DELETE"),
    ],
    ids=["cancelled", "without an answer", "has ended", "refused"],
)
def test_cancelling_never_deletes_a_job_that_has_ended(
    script: Script, answers: list[bytes], sent: str
) -> None:
    script.responses += [reply(200, JOB % b"queued"), *answers]
    job = Shapbox(script.url, "key").job("a1")
    if answers == [reply(403)]:
        with pytest.raises(RefusedError, match="403"):
            job.cancel()
    else:
        job.cancel()
        assert job.status.encode() in answers[-1]
    assert [text.partition(b" ")[0].decode() for text in script.requests[1:]] == sent.split()
    assert all(b"?cancel=true " in text for text in script.requests if text.startswith(b"DELETE"))


def test_a_limited_wait_ends_though_the_appliance_is_away(script: Script) -> None:
    script.responses += [reply(200, JOB % b"queued"), *[b""] * 50]
    job = Shapbox(script.url, "key", patience=600.0).job("a1")
    with pytest.raises(TimeoutError):
        job.wait(seconds=0.2)
    with pytest.raises(TimeoutError):
        job.wait(seconds=0)


def test_waiting_pauses_where_the_appliance_does_not(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("shapbox.client.time.sleep", pauses.append)
    cut_short = reply(200, JOB % b"queued", Retry_After="7")
    script.responses += [*[reply(200, JOB % b"queued")] * 3, cut_short, reply(200, JOB % b"completed")]
    Shapbox(script.url, "key").job("a1").wait()
    assert len(pauses) == 3
    assert 1 <= min(pauses) < 2
    assert pauses[-1] >= 7


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        ("http://me:secret@127.0.0.1", "k", "The address has"),
        ("http://127.0.0.1", "one\nsecret", "The key has"),
        ("localhost:10000", "secret", "begins with http"),
    ],
)
def test_wrong_addresses_and_keys_are_refused_and_certificates_verified(
    url: str, key: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        Address(url, key)
    assert "secret" not in str(refusal.value)
    for https in ("https://shap.example.com", "HTTPS://shap.example.com"):
        assert Address(https, "key").http_options["verify"]


def test_the_package_has_the_appliances_version_and_needs_python_3_10_httpx_and_numpy_only() -> None:
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
    assert project["version"] == shapbox.__version__ == VERSION
    allowed = {"shapbox", "httpx", "numpy"} | sys.stdlib_module_names
    for path in (ROOT / "client" / "shapbox").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 10))):
            match node:
                case ast.ImportFrom():
                    names = [node.module or ""]
                case ast.Import():
                    names = [one.name for one in node.names]
                case _:
                    continue
            outer = {name.partition(".")[0] for name in names} - allowed
            assert outer <= {"pandas", "polars", "shap"}, (path, outer)
            assert not outer or node.col_offset > 0, f"{path} imports {outer}, which is optional, at its top"
