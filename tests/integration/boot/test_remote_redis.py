"""Boot before a remote Redis: permanent errors are refused, outages are waited for."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.lab.trial_appliance import free_ports
from ops.run import remote_redis
from ops.run.remote_redis import check_redis
from shared.errors import BootError
from shared.settings import Settings
from tests.support.remote.certificates import make_certificates
from tests.support.remote.remote_redis import PASSWORD, RemoteRedis

type MakeRedis = Callable[..., RemoteRedis]


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[MakeRedis]:
    started: list[RemoteRedis] = []

    def start(**options: object) -> RemoteRedis:
        started.append(RemoteRedis(tmp_path / "redis", **options))  # type: ignore[arg-type]  # as given
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.kill()


def check(url: str) -> None:
    check_redis(Settings(redis_url=url), url)


def refused(url: str) -> str:
    with pytest.raises(BootError, match="REDIS_URL: ") as caught:
        check(url)
    for secret in (PASSWORD, "wrong-one", "guest-secret"):
        assert secret not in str(caught.value)
    return str(caught.value)


def test_one_with_tls_is_taken_and_faults_of_the_address_are_told_apart(
    start_redis: MakeRedis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis(options=("--user", "guest", "on", ">guest-secret", "+ping"))
    url = server.url()
    check(url)
    assert caplog.messages == []
    assert "refuses the password" in refused(server.url(password="wrong-one"))
    assert "refuses the password" in refused(server.url(password=""))
    assert "refuses the password" in refused(url.replace("//:", "//nobody:"))
    guest = url.replace(url[: url.index("@")], "rediss://guest:guest-secret")
    assert "does not let this user work" in refused(guest)
    assert "?ssl_ca_certs=" in refused(server.url(trusted=False))
    other = make_certificates(tmp_path / "other").authority
    assert "not trusted" in refused(f"{server.url(trusted=False)}?ssl_ca_certs={other}")
    said = refused(url.replace("127.0.0.1", "localhost"))
    assert "localhost" in said
    assert "the host as the certificate does" in said
    server.kill()
    check(url)  # one that is away is no reason not to start
    assert "the programs will wait for it" in caplog.text
    assert PASSWORD not in caplog.text


def test_tls_to_a_server_that_speaks_none_is_refused() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as plain:
        threading.Thread(target=plain.serve_forever, args=(0.01,), daemon=True).start()
        said = refused(f"rediss://127.0.0.1:{plain.server_port}")
        plain.shutdown()
    assert "does not agree on TLS" in said


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    said = refused(f"rediss://127.0.0.1:1/0?{name}=/nowhere/file.pem")
    assert f"{name} /nowhere/file.pem cannot be read" in said


def test_a_cluster_is_refused(start_redis: MakeRedis) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_ports(1)[0]))
    assert "is a cluster" in refused(start_redis(tls=False, options=options).url())


@pytest.mark.parametrize("patience", [6.0, 0.05])
def test_one_that_accepts_and_says_nothing_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, patience: float
) -> None:
    monkeypatch.setattr(remote_redis, "PROBE_SECONDS", patience)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check(f"redis://127.0.0.1:{silent.getsockname()[1]}")
    assert "the programs will wait for it" in caplog.text
