from __future__ import annotations

import datetime as dt
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.verify.checks import reach
from ops.verify.checks.tls import tls
from ops.verify.options import VerifyOptions
from ops.verify.outcome import FailedError, NotCheckedError
from ops.verify.visit import Visit
from tests.remote import certificates
from tests.remote.certificates import Certificates, make_certificates


class Edge(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Strict-Transport-Security", "max-age=1")
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
def visit(made: Certificates) -> Iterator[Visit]:
    """Visit a server that speaks TLS, with a certificate that is good for `days`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Edge) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield Visit.to(VerifyOptions(f"https://127.0.0.1:{server.server_port}"))
        server.shutdown()
        thread.join()


@pytest.fixture
def trusted(made: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))


@pytest.mark.usefixtures("trusted")
def test_a_trusted_certificate_that_is_good_for_long_passes(visit: Visit) -> None:
    assert reach.reachable(visit).startswith("version 0.1.0")
    assert tls(visit) == "TLSv1.3, certificate good for 90 days, HSTS"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("days", [3])
def test_one_that_is_about_to_expire_fails(visit: Visit) -> None:
    with pytest.raises(FailedError, match=r"expires in 3\.0 days"):
        tls(visit)


def test_one_that_is_not_trusted_is_named_as_the_cause(visit: Visit) -> None:
    with pytest.raises(FailedError, match="its certificate is not trusted: "):
        reach.reachable(visit)


def test_plain_http_has_no_certificate() -> None:
    with pytest.raises(NotCheckedError, match="http://"):
        tls(Visit.to(VerifyOptions("http://127.0.0.1:1")))


def test_what_is_no_shapbox_is_said_to_be_none(tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory=str(tmp_path))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with pytest.raises(FailedError, match="is not Shapbox: GET /version answers 404"):
                reach.reachable(Visit.to(VerifyOptions(f"http://127.0.0.1:{server.server_port}")))
        finally:
            server.shutdown()
            thread.join()
