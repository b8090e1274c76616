"""ops/compose.yaml: hardened, no default secrets, and a Redis entry point that runs."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from ops.lab.trial_appliance import free_ports
from shared.build import ROOT
from shared.settings import SETTING_NAMES

FILE = ROOT / "ops" / "compose.yaml"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
#: The tests of the container have compose read the file, each with its value.
SECRETS = {"API_KEY", "ADMIN_API_KEY", "METRICS_TOKEN", "REDIS_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"}
PASSWORD = "0123456789abcdef"


def test_every_service_is_bounded_and_may_do_nothing_it_need_not() -> None:
    assert set(SERVICES) == {"api", "worker", "redis", "s3"}
    for name, service in SERVICES.items():
        assert service["mem_limit"] == service["memswap_limit"] == "512m", name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert {mount.partition(":")[0] for mount in service["tmpfs"]} <= {"/tmp", "/root/.minio"}, name
        # A plain name: the operator chooses its registry.
        assert re.fullmatch(r"\$\{[A-Z0-9]+_IMAGE:-[a-z]+(/[a-z]+)?\}", service["image"]), name
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["api"]


def test_the_programs_are_told_what_they_know_and_no_secret_has_a_default() -> None:
    for role in ("api", "worker"):
        environment = SERVICES[role]["environment"]
        assert environment["ROLE"] == role
        others = set(environment) - set(SETTING_NAMES)
        assert others == {"AWS_ENDPOINT", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    # A named volume would be one for all of them, and only one appliance starts on a DATA_DIR.
    assert SERVICES["worker"]["volumes"] == ["/data"]
    used = re.findall(r"\$\{([A-Z_0-9]+)(:[-?])([^}]*)\}", FILE.read_text())
    assert {name for name, kind, _ in used if kind == ":?"} == SECRETS
    assert all("set it in .env" in text for name, _, text in used if name in SECRETS)


def test_its_redis_keeps_everything_asks_for_the_password_and_shows_it_nowhere(tmp_path: Path) -> None:
    port = free_ports(1)[0]
    shell, flag, script = SERVICES["redis"]["entrypoint"]
    script = script.replace("$$", "$").replace("${REDIS_MAXMEMORY:-256mb}", "256mb")
    script = script.replace("port 6379", f"port {port}").replace("dir /data", f"dir {tmp_path}")
    environment = {**os.environ, "REDIS_PASSWORD": PASSWORD}
    patience = Retry(ConstantBackoff(0.05), 1200)
    with subprocess.Popen([shell, flag, script], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            with closing(redis.Redis(port=port, password=PASSWORD, retry=patience)) as client:
                settings = client.config_get("maxmemory*", "append*", "save")
            with closing(redis.Redis(port=port)) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
            command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        finally:
            process.kill()
    assert (settings["maxmemory-policy"], settings["maxmemory"]) == ("noeviction", str(256 * 2**20))
    assert (settings["appendonly"], settings["appendfsync"], settings["save"]) == ("yes", "always", "")
    assert command.startswith(b"redis-server")  # the shell has become it, and signals reach it
    assert PASSWORD.encode() not in command
