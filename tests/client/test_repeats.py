"""Requests are repeated only if the appliance says "not now" or breaks the connection.

The server follows a script, as an appliance cannot be made to break off at a given byte.
"""

from __future__ import annotations

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from shapbox import AsyncShapbox, Job, NoAnswerError, RefusedError, Shapbox
from tests.client.conftest import Script, reply

MODELS = reply(200, b'{"models": []}')
JOB = b'{"id": "a1", "status": "queued", "model": "m@1", "batches": {"total": 1, "completed": 0}}'


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shapbox.flows._FIRST_PAUSE", 0.01)


@pytest.fixture(params=["blocking", "asynchronous"])
def models_of(request: pytest.FixtureRequest) -> Any:
    """Return what lists the models of a server, by one of the two clients."""

    async def ask(url: str, patience: float) -> Any:
        async with AsyncShapbox(url, "key", patience=patience) as box:
            return await box.models()

    if request.param == "asynchronous":
        return lambda url, patience=30.0: asyncio.run(ask(url, patience))
    return lambda url, patience=30.0: Shapbox(url, "key", patience=patience).models()


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


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
def test_other_refusals_are_final(script: Script, models_of: Any, status: int) -> None:
    script.responses += [reply(status, b"gone wrong")]
    with pytest.raises(RefusedError, match=f"gone wrong \\({status}, http-{status}\\)"):
        models_of(script.url)


def test_patience_ends_with_the_last_fault(script: Script, models_of: Any) -> None:
    script.responses += [reply(503, Retry_After="60"), b""]
    with pytest.raises(RefusedError):
        models_of(script.url)
    with pytest.raises(NoAnswerError):
        models_of(script.url, patience=0)


def test_a_job_is_submitted_once_however_often_it_is_sent(script: Script) -> None:
    script.responses += [b"", reply(503, Retry_After="0"), reply(202, JOB)]
    job = Shapbox(script.url, "key").submit([[1, 2]], "m")
    assert job.id == "a1"
    keys = [re.findall(rb"idempotency-key: (\S+)\r\n", text.lower()) for text in script.requests]
    assert len(keys) == 3
    assert keys[0] == keys[1] == keys[2] != []
    assert {text.partition(b"\r\n\r\n")[2] for text in script.requests} == {b"[1, 2]\n"}


def test_a_broken_download_starts_anew(script: Script, tmp_path: Path) -> None:
    lines = b"a,b\r\n1,2\r\n"
    script.responses += [
        reply(200, lines[:5] + b"rubbish", Content_Length="50"),
        reply(503, b"{}", Retry_After="0"),
        reply(200, lines),
        reply(404),
    ]
    document = {"id": "a1", "status": "completed", "batches": {"total": 1, "completed": 1}}
    job = Job(Shapbox(script.url, "key"), document)
    job.save(tmp_path / "values.csv")
    assert (tmp_path / "values.csv").read_bytes() == lines
    with pytest.raises(RefusedError):
        job.save(tmp_path / "other.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["values.csv"]
