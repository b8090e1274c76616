from __future__ import annotations

import datetime as dt
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.verify.appliance import REMEDIES, failed_probes
from ops.verify.checks.access import reachable, tls
from ops.verify.jobs import job_of, residual_of
from ops.verify.report import FailedError, NotCheckedError
from ops.verify.visit import VerifyOptions, Visit
from tests.support.remote import certificates
from tests.support.remote.certificates import Certificates, make_certificates

PROBES = ("redis", "queue", "workers", "storage", "models", "draining", "monitor")
JOB = {"id": "0199f3a0c2d51b7e4f60a9c83d2e5f17", "model": "wine@1"}


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


def test_every_probe_and_cause_has_a_remedy_of_its_own() -> None:
    assert REMEDIES.keys() >= {*PROBES, "programs", "api"}
    assert len(set(REMEDIES.values())) == len(REMEDIES)


@pytest.mark.parametrize(
    ("headers", "document", "job"),
    [
        ({"content-location": "/v1/jobs/abc/result"}, None, "abc"),
        ({"location": "/v1/jobs/abc"}, {"job": "other"}, "abc"),
        ({}, {"type": "/problems/job-failed", "job": {"id": "abc"}}, "abc"),
        ({"location": "https://other/"}, [1], None),
    ],
)
def test_the_job_of_an_answer_is_found_wherever_it_stands(
    headers: dict[str, str], document: Any, job: str | None
) -> None:
    assert job_of(headers, document) == job


def test_a_residual_that_is_too_large_or_missing_names_model_and_job() -> None:
    assert residual_of({**JOB, "largest_residual": 1e-4}) == 1e-4
    with pytest.raises(FailedError, match=r"wine@1 .* job 0199f3a0\w+ is 2e-04, and 1e-04 is allowed"):
        residual_of({**JOB, "largest_residual": 2e-4})
    with pytest.raises(FailedError, match="its sums were not checked"):
        residual_of({**JOB, "largest_residual": None})


class Edge(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "0.1.0", "commit": "abc", "xgboost": "3"}')

    def log_message(self, *_given: object) -> None:
        pass


@pytest.fixture
def days() -> int:
    return 90


@pytest.fixture
def made(tmp_path: Path, days: int, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    monkeypatch.setattr(certificates, "DAY", dt.timedelta(days=days))
    return make_certificates(tmp_path)


@pytest.fixture
def address(made: Certificates) -> Iterator[str]:
    """Give the address of a server that speaks TLS, with a certificate that is good for `days`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Edge) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def trusted(made: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))


def visit(url: str) -> Visit:
    return Visit(VerifyOptions(url))


@pytest.mark.usefixtures("trusted")
def test_a_trusted_certificate_that_is_good_for_long_passes(address: str) -> None:
    assert reachable(visit(address)).startswith("version 0.1.0")
    assert tls(visit(address)) == "TLSv1.3, certificate good for 90 days"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("days", [3])
def test_one_that_is_about_to_expire_fails(address: str) -> None:
    with pytest.raises(FailedError, match=r"expires in 3\.0 days"):
        tls(visit(address))


def test_one_that_is_not_trusted_is_named_as_the_cause(address: str) -> None:
    with pytest.raises(FailedError, match="certificate verify failed"):
        reachable(visit(address))


def test_plain_http_has_no_certificate() -> None:
    with pytest.raises(NotCheckedError, match="http://"):
        tls(visit("http://127.0.0.1:1"))


def test_another_server_is_said_not_to_be_shapbox(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory=str(tmp_path))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with pytest.raises(FailedError, match="is not Shapbox: GET /version answers 404"):
                reachable(visit(f"http://127.0.0.1:{server.server_port}"))
        finally:
            server.shutdown()
            thread.join()
