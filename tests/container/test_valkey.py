"""Valkey in Redis's place, on a network between containers, with a password and TLS."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.container.engine import docker, docker_succeeds
from tests.container.conftest import MakeBox
from tests.support.faults.submitted import submit
from tests.support.remote.certificates import make_certificates

#: The network of this test, and where Valkey is on it: the certificate names the address.
SUBNET, ADDRESS = "172.29.77.0/28", "172.29.77.3"
PASSWORD = "a-password-of-the-tests"
SERVER = f"""
    exec valkey-server --port 0 --tls-port 6379 --tls-auth-clients no --appendonly yes --dir /tmp
    --tls-cert-file /tls/server.pem --tls-key-file /tls/server.key --tls-ca-cert-file /tls/ca.pem
    --maxmemory-policy noeviction --requirepass {PASSWORD}
"""
CLIENT = f"valkey-cli --tls --cacert /tls/ca.pem --no-auth-warning -h {ADDRESS} -a {PASSWORD} info server"


@pytest.fixture
def valkey(peers: str, tmp_path: Path) -> Iterator[str]:
    """Run Valkey on a network of its own; give the network's name."""
    make_certificates(tmp_path / "tls", ADDRESS)
    for file in (tmp_path / "tls").iterdir():
        file.chmod(0o644)  # the containers' users read them
    network = f"shapbox-test-{os.getpid()}"
    docker("network", "create", f"--subnet={SUBNET}", network)
    options = [f"--network={network}", f"--ip={ADDRESS}", f"--volume={tmp_path / 'tls'}:/tls:ro"]
    words = ["sh", "-c", " ".join(SERVER.split())]
    docker("run", "--detach", f"--name={network}-valkey", *options, peers, *words)
    try:
        yield network
    finally:
        docker_succeeds("rm", "--force", "--volumes", f"{network}-valkey")
        docker_succeeds("network", "rm", network)


def test_an_appliance_works_with_valkey_over_tls_and_is_told_of_a_wrong_password(
    valkey: str, make_box: MakeBox, tmp_path: Path
) -> None:
    options = (f"--network={valkey}", f"--volume={tmp_path / 'tls'}:/tls:ro")
    address = f"{PASSWORD}@{ADDRESS}:6379/0?ssl_ca_certs=/tls/ca.pem"
    refused, box = (make_box(*options, REDIS_URL=f"rediss://:{text}{address}") for text in ("not-", ""))
    refused.run()
    box.run()
    box.await_ready()
    submit(box, "breast-cancer", 5000).check_completed()
    assert "redis-server" not in box.exec("sh", "-c", "cat /proc/[0-9]*/comm")
    assert PASSWORD not in box.log()
    assert "valkey_version" in docker("exec", f"{valkey}-valkey", *CLIENT.split())

    docker("wait", refused.name)  # it is not taken for an outage
    assert refused.state()["ExitCode"] == 2
    assert "REDIS_URL" in refused.log()
    assert PASSWORD not in refused.log()
