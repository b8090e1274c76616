"""Checks of verify that a running appliance does not show: faults, certificates, metrics."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from ops.lab.memory import MB
from ops.verify.appliance import REMEDIES, Scrape, failed_probes
from ops.verify.checks.access import reachable
from ops.verify.checks.work import OPTIONAL, failed_events, missing_metrics
from ops.verify.report import FailedError, NotCheckedError, Verdict
from ops.verify.run import HIDDEN, READY, Check, Series, run_verify
from ops.verify.visit import VerifyOptions, Visit
from ops.verify.watch import RELIEF, Seen
from shapbox import NoAnswerError
from shared.metrics import METRICS, PREFIX, MetricKind
from tests.support.remote.certificates import make_certificates

KEY, NOWHERE = "a-key-that-nobody-may-see", "http://127.0.0.1:1"
PROBES = ("redis", "queue", "workers", "storage", "models", "draining", "monitor")
LIMIT = 475 * MB
PROCESSES = {"api": 60.0 * MB, "worker-1": 300.0 * MB, "worker-2": 80.0 * MB, "redis": 9.0 * MB}


@pytest.fixture
def series() -> Series:
    """Make checks of an address where nothing listens."""
    return Series(Visit(VerifyOptions(NOWHERE, {"API_KEY": KEY})))


def passing(_visit: Visit) -> str:
    return "7 ms"


def raising(fault: Exception, needs: tuple[str, ...] = ()) -> Check:
    def run(_visit: Visit) -> str:
        raise fault

    return Check("broken", run, needs)


@pytest.mark.parametrize(
    ("fault", "verdict", "detail"),
    [
        (FailedError("It is so.", "Do that."), Verdict.FAIL, "It is so."),
        (NotCheckedError("no key."), Verdict.SKIP, "no key."),
        (NoAnswerError("GET / was not answered: timed out"), Verdict.FAIL, "was not answered: timed out."),
        (KeyError("values"), Verdict.FAIL, "An answer is not what the contract says"),
    ],
)
def test_a_failed_check_becomes_a_verdict_and_blocks_what_needs_it(
    series: Series, fault: Exception, verdict: Verdict, detail: str
) -> None:
    result = series.make(raising(fault))
    assert result.verdict is verdict
    assert detail in result.detail
    assert result.remedy or verdict is Verdict.SKIP
    second = series.make(Check("second", passing, ("broken",)))
    third = series.make(Check("third", passing, ("second",)))
    if verdict is Verdict.SKIP:
        assert (second.measured, third.measured) == ("7 ms", "7 ms")
    else:
        assert second.detail == third.detail == "not checked because broken failed."
    assert series.make(Check("other", passing, ("another",))).measured == "7 ms"


def test_a_failure_of_an_appliance_that_is_not_well_any_more_names_that_and_ends_the_rest(
    series: Series,
) -> None:
    result = series.make(raising(FailedError("No values.", "Look."), (READY,)))
    assert result.detail.startswith("No values. Because: api: GET http://127.0.0.1:1/readyz was not answered")
    assert "dashboard" in result.remedy
    rest = series.make(Check("job", passing, (READY,)))
    assert rest.detail == "not checked because it is not well any more: api (see broken)."


def test_no_key_is_told_even_if_an_answer_quotes_it(series: Series) -> None:
    result = series.make(raising(FailedError(f"401: {KEY}?", f"Not {KEY}.", KEY)))
    assert (result.detail, result.remedy, result.measured) == (f"401: {HIDDEN}?", f"Not {HIDDEN}.", HIDDEN)


def test_where_nothing_answers_that_is_the_one_failure() -> None:
    report = run_verify(VerifyOptions(NOWHERE, {"API_KEY": KEY}))
    assert [check.name for check in report.failures] == ["reachable"]
    assert "Connection refused" in report.failures[0].detail
    assert {check.verdict for check in report.checks[1:]} == {Verdict.SKIP}


def test_the_platform_is_asked_for_failures_since_the_visit_began() -> None:
    events: dict[datetime, list[str]] = {}
    visit = Visit(VerifyOptions(NOWHERE, failed_events=lambda since: events[since]))
    with pytest.raises(NotCheckedError, match="cannot be read"):
        failed_events(visit)
    events[visit.started_at] = []
    assert failed_events(visit).startswith("no failure since ")
    events[visit.started_at] = ["out of memory (512 MB) at 09:31"]
    with pytest.raises(FailedError, match="out of memory"):
        failed_events(visit)
    assert "Render's events" in {check.name for check in run_verify(visit.options).checks}
    with pytest.raises(NotCheckedError, match="take its key"):
        failed_events(Visit(VerifyOptions(NOWHERE)))


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        ({}, []),
        # Faults that follow from a missing Redis, or from a stop, are not told beside it.
        (
            {"redis": "away", "queue": "unknown", "workers": "unknown", "storage": "full"},
            ["redis: away", "storage: full"],
        ),
        ({"draining": "stopping", "workers": "0 alive"}, ["draining: stopping"]),
    ],
)
def test_only_first_causes_are_told(failed: dict[str, str], told: list[str]) -> None:
    probes = {name: {"ok": name not in failed, "detail": failed.get(name, "well")} for name in PROBES}
    assert [str(fault) for fault in failed_probes(probes)] == told
    assert REMEDIES.keys() >= {*PROBES, "programs", "api"}


class Edge(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "0.1.0", "commit": "abc", "xgboost": "3"}')

    def log_message(self, *_given: object) -> None:
        pass


@contextmanager
def served(handler: type[Edge], context: ssl.SSLContext | None = None) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_certificate_must_be_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with served(Edge, context) as url:
        with pytest.raises(FailedError, match="certificate verify failed"):
            reachable(Visit(VerifyOptions(url)))
        monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
        assert reachable(Visit(VerifyOptions(url))).startswith("version 0.1.0")


def test_another_server_is_said_not_to_be_shapbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Edge, "do_GET", lambda edge: edge.send_error(404))
    with served(Edge) as url, pytest.raises(FailedError, match="is not Shapbox: GET /version answers 404"):
        reachable(Visit(VerifyOptions(url)))


def seen(megabytes: float, grown: dict[str, float] | None = None, fallen: tuple[str, ...] = ()) -> Seen:
    return Seen(megabytes * MB, LIMIT, PROCESSES, 9, {}, grown or {}, set(fallen))


def test_memory_below_its_limit_passes_with_the_peak() -> None:
    grown = {"worker_recycles_total{reason=admin}": 1.0, "jobs_total{status=completed}": 9.0}
    assert seen(231, grown).judge_memory() == "peak 231 of 475 MB in 9 looks"


@pytest.mark.parametrize(
    ("looked", "said"),
    [
        (
            seen(480, {"worker_recycles_total{reason=memory_soft}": 2.0}),
            "came to 480 MB, and the limit is 475 MB",
        ),
        (seen(480), "Largest: worker-1 300 MB, worker-2 80 MB, api 60 MB"),
        # A worker was recycled between two looks.
        (seen(300, {"worker_recycles_total{reason=memory_hard}": 1.0}), "Memory was short"),
        (seen(300, {"memory_unrelieved_total": 1.0}), "Memory was short"),
        (Seen(looks=3), "no memory in 3 looks"),
    ],
)
def test_memory_that_was_short_or_that_nobody_told_fails(looked: Seen, said: str) -> None:
    with pytest.raises(FailedError, match=said):
        looked.judge_memory()


def test_counters_that_fell_are_a_restart_and_deaths_are_named() -> None:
    seen(200, {"batches_recovered_total{cause=left}": 1.0}).judge_restarts()
    with pytest.raises(FailedError, match="Counters fell"):
        seen(200, fallen=("jobs_total{status=completed}",)).judge_restarts()
    with pytest.raises(FailedError, match="cause=worker_died} 2"):
        seen(200, {"batches_recovered_total{cause=worker_died}": 2.0}).judge_restarts()


def test_the_peak_and_the_counters_that_grew_or_fell_are_kept() -> None:
    watched = Seen()
    for working_set, recycles, jobs in ((200, 1, 10), (480, 3, 12), (210, 3, 4)):
        text = (
            f"shapbox_memory_working_set_bytes {working_set * MB}\nshapbox_memory_limit_bytes {LIMIT}\n"
            f'shapbox_worker_recycles_total{{reason="memory_hard"}} {recycles}\n'
            f'shapbox_jobs_total{{status="completed"}} {jobs}\n'
        )
        watched.take(Scrape(text.encode()))
    assert (watched.peak, watched.looks) == (480 * MB, 3)
    assert watched.grown(RELIEF) == "worker_recycles_total{reason=memory_hard} 2"
    assert watched.fallen == {"jobs_total{status=completed}"}


def test_a_metric_that_is_not_told_is_missing_and_another_page_is_a_failure() -> None:
    needed = [metric for metric in METRICS if metric not in OPTIONAL]
    buckets = {metric: "_bucket" if metric.kind is MetricKind.HISTOGRAM else "" for metric in needed}
    lines = [f'{PREFIX}{metric.name}{bucket}{{of="x"}} 1\n' for metric, bucket in buckets.items()]
    assert missing_metrics(Scrape("".join(lines).encode())) == []
    assert missing_metrics(Scrape("".join(lines[1:]).encode())) == [needed[0].name]
    with pytest.raises(FailedError, match="cannot be parsed"):
        Scrape(b"<html>not metrics</html>\n")
