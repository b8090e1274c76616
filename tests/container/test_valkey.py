"""Valkey in Redis's place, on a network between containers, with a password and TLS."""

from __future__ import annotations

import os
from pathlib import Path

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


def test_an_appliance_works_with_valkey_over_tls(peers: str, make_box: MakeBox, tmp_path: Path) -> None:
    make_certificates(tmp_path / "tls", ADDRESS)
    for file in (tmp_path / "tls").iterdir():
        file.chmod(0o644)  # the containers' users read them
    network = f"shapbox-test-{os.getpid()}"
    docker("network", "create", f"--subnet={SUBNET}", network)
    options = (f"--network={network}", f"--volume={tmp_path / 'tls'}:/tls:ro")
    url = f"rediss://:{PASSWORD}@{ADDRESS}:6379/0?ssl_ca_certs=/tls/ca.pem"
    box = make_box(*options, REDIS_URL=url)
    try:
        words = [f"--name={network}-valkey", f"--ip={ADDRESS}", *options]
        docker("run", "--detach", *words, peers, "sh", "-c", " ".join(SERVER.split()))
        box.run()
        box.await_ready()
        submit(box, "breast-cancer", 5000).check_completed()
        assert "redis-server" not in box.exec("sh", "-c", "cat /proc/[0-9]*/comm")
        assert "valkey-server" in docker("exec", f"{network}-valkey", "sh", "-c", "cat /proc/1/cmdline")
        assert PASSWORD not in box.log()
    finally:
        box.remove(with_data=True)
        docker_succeeds("rm", "--force", "--volumes", f"{network}-valkey")
        docker_succeeds("network", "rm", network)
