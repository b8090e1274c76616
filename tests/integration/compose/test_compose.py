"""ops/compose.yaml: hardened, no default secrets, and a Redis entry point that runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
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
SECRETS = ("API_KEY", "ADMIN_API_KEY", "METRICS_TOKEN", "REDIS_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY")
PASSWORD = "0123456789abcdef"
COMPOSE = next(
    (
        words
        for words in (["docker-compose"], ["docker", "compose"])
        if shutil.which(words[0])
        and subprocess.run([*words, "version"], check=False, capture_output=True).returncode == 0
    ),
    None,
)


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
    used = dict(re.findall(r"\$\{([A-Z_0-9]+)(:[-?])", FILE.read_text()))
    assert {name for name, kind in used.items() if kind == ":?"} == set(SECRETS)


@pytest.fixture
def composed_redis(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Run the service's entry point as compose would; give its port and process id."""
    port = free_ports(1)[0]
    shell, flag, script = SERVICES["redis"]["entrypoint"]
    script = script.replace("$$", "$").replace("${REDIS_MAXMEMORY:-256mb}", "256mb")
    script = script.replace("port 6379", f"port {port}").replace("dir /data", f"dir {tmp_path}")
    environment = {**os.environ, "REDIS_PASSWORD": PASSWORD}
    with subprocess.Popen([shell, flag, script], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            yield port, process.pid
        finally:
            process.kill()


def test_its_redis_keeps_everything_asks_for_the_password_and_shows_it_nowhere(
    composed_redis: tuple[int, int],
) -> None:
    port, pid = composed_redis
    with closing(
        redis.Redis(port=port, password=PASSWORD, retry=Retry(ConstantBackoff(0.05), 1200))
    ) as client:
        settings = client.config_get("maxmemory*", "append*", "save")
    assert (settings["maxmemory-policy"], settings["maxmemory"]) == ("noeviction", str(256 * 2**20))
    assert (settings["appendonly"], settings["appendfsync"], settings["save"]) == ("yes", "always", "")
    with closing(redis.Redis(port=port)) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
        stranger.ping()
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    assert command.startswith(b"redis-server")  # the shell has become it, and signals reach it
    assert PASSWORD.encode() not in command


@pytest.mark.skipif(COMPOSE is None, reason="neither docker-compose nor docker's plugin is installed here")
@pytest.mark.parametrize("missing", [None, *SECRETS])
def test_compose_reads_it_and_says_which_secret_is_not_set(missing: str | None, tmp_path: Path) -> None:
    (tmp_path / "empty.env").touch()
    given = {name: f"{name.lower().replace('_', '')}0123456789" for name in SECRETS if name != missing}
    config = subprocess.run(
        [*(COMPOSE or []), "--env-file", str(tmp_path / "empty.env"), "-f", str(FILE), "config"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **given},
        capture_output=True,
        text=True,
        check=False,
    )
    if missing is None:
        assert config.returncode == 0, config.stderr
        worker = yaml.safe_load(config.stdout)["services"]["worker"]
        assert worker["environment"]["REDIS_URL"] == f"redis://:{given['REDIS_PASSWORD']}@redis:6379/0"
    else:
        assert config.returncode != 0
        assert missing in config.stderr
        assert "set it in .env" in config.stderr
