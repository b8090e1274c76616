"""Boot before a remote Redis: permanent errors are refused, outages are waited for."""

from __future__ import annotations

import http.server
import socket
import threading
from pathlib import Path

import pytest
import redis

from ops.lab.trial_appliance import free_ports
from ops.run import remote_redis
from ops.run.remote_redis import check_redis
from shared.errors import BootError
from shared.settings import Settings
from tests.support.remote.acl import PASSWORD_OF_USER, documented_user
from tests.support.remote.certificates import make_certificates
from tests.support.remote.remote_redis import PASSWORD, RemoteRedis, RemoteSentinel


def check(url: str) -> None:
    check_redis(Settings(redis_url=url), url)


def refused(url: str) -> str:
    with pytest.raises(BootError, match="REDIS_URL: ") as caught:
        check(url)
    for secret in (PASSWORD, "wrong-one", "guest-secret"):
        assert secret not in str(caught.value)
    return str(caught.value)


def test_one_with_tls_is_taken_and_faults_of_the_address_are_told_apart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RemoteRedis(tmp_path / "redis", options=("--user", "guest", "on", ">guest-secret", "+ping"))
    server.start()
    url = server.url()
    other = make_certificates(tmp_path / "other").authority
    try:
        check(url)
        assert caplog.messages == []
        for wrong, said in (
            (server.url(password="wrong-one"), "refuses the password"),
            (server.url(password=""), "refuses the password"),
            (url.replace("//:", "//nobody:"), "refuses the password"),
            (f"rediss://guest:guest-secret{url[url.index('@') :]}", "does not let this user do all"),
            (server.url(trusted=False), "?ssl_ca_certs="),
            (f"{server.url(trusted=False)}?ssl_ca_certs={other}", "not trusted"),
            (url.replace("127.0.0.1", "localhost"), "the host as the certificate does"),
        ):
            assert said in refused(wrong)
    finally:
        server.kill()
    check(url)  # one that is away is no reason not to start
    assert "the programs will wait for it" in caplog.text
    assert PASSWORD not in caplog.text


def test_the_documented_user_is_taken_and_each_permission_that_it_lacks_is_named(tmp_path: Path) -> None:
    server = RemoteRedis(tmp_path / "redis", tls=False, password="")
    server.start()
    whole = documented_user()
    url = server.url().replace("//", f"//shapbox:{PASSWORD_OF_USER}@")
    commands = [word for word in whole if word[0] == "+" and "@" not in word]
    try:
        with redis.Redis.from_url(server.url()) as admin:
            for lacking in (
                *commands,
                "~shapbox:*",
                "~rq:*",
                "&shapbox:ended",
                "&rq:pubsub:*",
                "+@transaction",
            ):
                admin.execute_command("ACL", "DELUSER", "shapbox")
                admin.execute_command(*(word for word in whole if word != lacking))
                said = refused(url)
                assert f" {lacking.replace('@transaction', 'multi')} " in said.replace(".", " "), said
            admin.execute_command(*whole)
            check(url)
            assert admin.keys() == []
    finally:
        server.kill()


def test_tls_to_a_server_that_speaks_none_and_files_that_are_not_there_are_refused() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as plain:
        threading.Thread(target=plain.serve_forever, args=(0.01,), daemon=True).start()
        said = refused(f"rediss://127.0.0.1:{plain.server_port}")
        plain.shutdown()
    assert "does not agree on TLS" in said
    for name in ("ssl_ca_certs", "ssl_certfile"):
        said = refused(f"rediss://127.0.0.1:1/0?{name}=/nowhere/file.pem")
        assert f"{name} /nowhere/file.pem cannot be read" in said


def test_a_sentinel_and_a_node_of_a_cluster_are_refused_whatever_else_they_refuse(tmp_path: Path) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_ports(1)[0]))
    node = RemoteRedis(tmp_path / "node", tls=False, password="", options=options)
    for server, said in (
        (node, "is a node of a Redis Cluster"),
        (RemoteSentinel(tmp_path / "sentinel"), "is a Sentinel"),
    ):
        server.start()
        try:
            # Neither has further databases, and neither asks for the password of a Redis.
            for url in (server.url(), server.url(password=PASSWORD), server.url().replace("/0", "/1")):
                assert said in refused(url)
        finally:
            server.kill()


@pytest.mark.parametrize("patience", [6.0, 0.05])
def test_one_that_accepts_and_says_nothing_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, patience: float
) -> None:
    monkeypatch.setattr(remote_redis, "PROBE_SECONDS", patience)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check(f"redis://127.0.0.1:{silent.getsockname()[1]}")
    assert "the programs will wait for it" in caplog.text
