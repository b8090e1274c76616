"""Boot before a remote Redis: permanent errors are refused, outages are waited for."""

from __future__ import annotations

import http.server
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.lab.trial_appliance import environment_without_settings, free_ports
from ops.run.redis_check import check_redis
from shared.errors import BootError
from shared.settings import Settings
from tests.remote.certificates import make_certificates
from tests.remote.remote_redis import PASSWORD, RemoteRedis

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
    environment = {**environment_without_settings(), "REDIS_URL": url}
    check_redis(Settings.from_environment(environment), environment)


def refused(url: str) -> str:
    with pytest.raises(BootError) as caught:
        check(url)
    assert "REDIS_URL: " in str(caught.value)
    for secret in (PASSWORD, "wrong-one"):
        assert secret not in str(caught.value)
    return str(caught.value)


def test_a_redis_with_tls_and_a_password_full_of_special_characters_is_taken(
    start_redis: MakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    check(start_redis().url())
    assert caplog.messages == []


def test_a_wrong_password_and_a_missing_one_are_refused(start_redis: MakeRedis) -> None:
    server = start_redis()
    assert "refuses the password" in refused(server.url(password="wrong-one"))
    assert "refuses the password" in refused(server.url(password=""))


def test_a_user_that_it_does_not_know_or_that_may_not_work_is_refused(start_redis: MakeRedis) -> None:
    url = start_redis(options=("--user", "guest", "on", ">guest-secret", "+ping")).url()
    assert "refuses the password" in refused(url.replace("//:", "//nobody:"))
    guest = url.replace(url[: url.index("@")], "rediss://guest:guest-secret")
    assert "does not let this user work" in refused(guest)


def test_a_certificate_of_an_unknown_authority_is_refused_with_the_setting_to_mend_it(
    start_redis: MakeRedis, tmp_path: Path
) -> None:
    server = start_redis()
    assert "?ssl_ca_certs=" in refused(server.url(trusted=False))
    other = make_certificates(tmp_path / "other").authority
    assert "not trusted" in refused(f"{server.url(trusted=False)}?ssl_ca_certs={other}")


def test_a_certificate_of_another_host_is_refused(start_redis: MakeRedis) -> None:
    said = refused(start_redis().url().replace("127.0.0.1", "localhost"))
    assert "the host as the certificate does" in said
    assert "localhost" in said


def test_tls_to_a_server_that_speaks_none_is_refused() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as plain:
        threading.Thread(target=plain.serve_forever, daemon=True).start()
        said = refused(f"rediss://127.0.0.1:{plain.server_port}")
        plain.shutdown()
    assert "does not agree on TLS" in said


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile"])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    said = refused(f"rediss://127.0.0.1:1/0?{name}=/nowhere/file.pem")
    assert f"{name} /nowhere/file.pem cannot be read" in said


def test_a_cluster_is_refused(start_redis: MakeRedis) -> None:
    server = start_redis(
        tls=False, options=("--cluster-enabled", "yes", "--cluster-port", str(free_ports(1)[0]))
    )
    assert "is a cluster" in refused(server.url())


def test_a_redis_that_is_away_is_no_reason_not_to_start(
    start_redis: MakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    server = start_redis()
    server.kill()
    check(server.url())
    assert "the programs will wait for it" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_redis_that_accepts_and_says_nothing_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ops.run.redis_check.PROBE_SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check(f"redis://127.0.0.1:{silent.getsockname()[1]}")
    assert "the programs will wait for it" in caplog.text


def test_without_a_remote_redis_nothing_is_asked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_redis(Settings(), dict(os.environ))
    assert caplog.messages == []
