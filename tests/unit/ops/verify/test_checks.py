"""Checks of verify that a running appliance does not show: faults, certificates, metrics."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from ops.lab.memory import MB
from ops.verify.appliance import REMEDIES, Scrape, failed_probes
from ops.verify.checks.access import closed, key, reachable
from ops.verify.checks.work import OPTIONAL, failed_events, missing_metrics
from ops.verify.report import FailedError, NotCheckedError, Verdict
from ops.verify.run import HIDDEN, READY, Check, Series, run_verify
from ops.verify.visit import VerifyOptions, Visit
from ops.verify.watch import RELIEF, Seen
from shapbox import NoAnswerError
from shared.metrics import METRICS, PREFIX, MetricKind
from tests.support.remote.certificates import make_certificates

KEY, NOWHERE = "a-key-that-nobody-may-see", "http://127.0.0.1:1"
PROBES = ("redis", "queue", "workers", "storage", "models", "programs", "draining", "monitor")
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
    # No key is told even if an answer quotes it.
    result = series.make(raising(FailedError(f"No {KEY}.", "Look.", KEY), (READY,)))
    assert result.detail.startswith(
        f"No {HIDDEN}. Because: api: GET http://127.0.0.1:1/readyz was not answered"
    )
    assert result.measured == HIDDEN
    assert "dashboard" in result.remedy
    rest = series.make(Check("job", passing, (READY,)))
    assert rest.detail == "not checked because it is not well any more: api (see broken)."


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
    assert REMEDIES.keys() >= {*PROBES, "api"}


class Edge(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "0.1.0", "commit": "abc", "xgboost": "3"}')

    def log_message(self, *_given: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Edge) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def test_a_certificate_must_be_trusted(
    server: http.server.ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    options = VerifyOptions(f"https://127.0.0.1:{server.server_port}")
    with pytest.raises(FailedError, match="certificate verify failed"):
        reachable(Visit(options))
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    assert reachable(Visit(options)).startswith("version 0.1.0")


def test_an_appliance_that_is_open_to_all_is_found(server: http.server.ThreadingHTTPServer) -> None:
    visit = Visit(VerifyOptions(f"http://127.0.0.1:{server.server_port}", {"API_KEY": KEY}))
    with pytest.raises(FailedError, match=r"GET /v1/models without a key answers 200, and must answer 401\."):
        closed(visit)
    with pytest.raises(FailedError, match=r"API_KEY on GET /metrics answers 200, and must answer 403\."):
        key("API_KEY", visit)


def test_another_server_is_said_not_to_be_shapbox(
    server: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Edge, "do_GET", lambda edge: edge.send_error(404))
    with pytest.raises(FailedError, match="is not Shapbox: GET /version answers 404"):
        reachable(Visit(VerifyOptions(f"http://127.0.0.1:{server.server_port}")))


def seen(megabytes: float = 231, grown: str = "jobs_total", fallen: set[str] | None = None) -> Seen:
    return Seen(megabytes * MB, LIMIT, PROCESSES, 9, {}, {grown: 2.0}, fallen or set())


@pytest.mark.parametrize(
    ("judge", "looked", "said"),
    [
        (
            Seen.judge_memory,
            seen(480),
            "came to 480 MB, and the limit is 475 MB. Largest: worker-1 300 MB, worker-2",
        ),
        # A worker was recycled between two looks.
        (Seen.judge_memory, seen(grown="worker_recycles_total{reason=memory_hard}"), "Memory was short"),
        (Seen.judge_memory, seen(grown="memory_unrelieved_total"), "Memory was short"),
        (Seen.judge_memory, Seen(looks=3), "no memory in 3 looks"),
        (Seen.judge_restarts, seen(fallen={"jobs_total"}), "Counters fell"),
        (
            Seen.judge_restarts,
            seen(grown="batches_recovered_total{cause=worker_died}"),
            "cause=worker_died} 2",
        ),
    ],
    ids=["too much", "recycled", "unrelieved", "not told", "restarted", "died"],
)
def test_memory_that_was_short_or_not_told_and_restarts_fail(
    judge: Callable[[Seen], object], looked: Seen, said: str
) -> None:
    judge(seen(grown="worker_recycles_total{reason=admin}"))
    with pytest.raises(FailedError, match=said):
        judge(looked)


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
