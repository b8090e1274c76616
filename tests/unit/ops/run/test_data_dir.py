"""DATA_DIR, the ports, the embedded Redis's configuration and the programs' environment."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from ops.run.data_dir import empty_folder, ensure_host_name, ensure_keys, make_folders
from ops.run.embedded_redis import redis_config, redis_config_file, write_redis_config
from ops.run.ports import check_ports
from ops.run.program_environment import program_environment
from ops.run.sizing import Sizing
from shared.appliance.program_start import host_name
from shared.build import ROOT
from shared.errors import BootError
from shared.settings import KEY_NAMES, Role, Settings

SIZING = Sizing(2, 170, "test")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    make_folders(made)
    return made


def test_the_folders_are_private_and_left_uploads_go(settings: Settings) -> None:
    (settings.tmp_dir / "upload").write_bytes(b"half")
    settings.keys_dir.chmod(0o755)
    make_folders(settings)
    empty_folder(settings.tmp_dir)
    for folder in (settings.run_dir, settings.keys_dir, settings.objects_dir, settings.tmp_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(settings.tmp_dir.iterdir()) == []


def test_a_data_dir_that_is_a_file_is_refused_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(BootError, match="DATA_DIR"):
        make_folders(Settings(data_dir=tmp_path / "file"))


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EROFS, "mount a volume"), (errno.ENOSPC, "make room"), (errno.ENOTDIR, "way")],
)
def test_what_helps_depends_on_what_is_wrong(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(BootError, match=remedy) as refused:
        make_folders(settings)
    assert "chown" not in str(refused.value)


def refusal_as_a_plain_user(data_dir: Path) -> str:
    """Return boot's message to a user without rights about a folder of root's."""
    code = (
        "import os, sys; from pathlib import Path; from ops.run.data_dir import make_folders\n"
        "from ops.run.lock import hold_lock; from shared.settings import Settings\n"
        "os.setgroups([]); os.setgid(12345); os.setuid(12345); settings = Settings(data_dir=Path(sys.argv[1]))\n"
        "make_folders(settings); hold_lock(settings.data_dir)"
    )
    command = [sys.executable, "-c", code, str(data_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("BootError: ")[2]


@pytest.fixture
def volume() -> Iterator[Path]:
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory(prefix="shapbox-") as folder:
        Path(folder).chmod(0o755)
        data_dir = Path(folder) / "data"
        data_dir.mkdir(mode=0o755)
        yield data_dir


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_root_left_is_refused_with_the_user_and_the_command_that_helps(volume: Path) -> None:
    said = refusal_as_a_plain_user(volume)
    assert f"{volume} belongs to user 0, and Shapbox runs as user 12345" in said
    (volume / "lock").touch(mode=0o600)
    os.chown(volume, 12345, 12345)
    assert f"{volume}/lock cannot be opened" in refusal_as_a_plain_user(volume)
    subprocess.run(["sh", "-c", said.split("`")[1]], check=True)
    assert refusal_as_a_plain_user(volume) == ""


def test_each_unset_key_is_made_once_and_kept_private(settings: Settings) -> None:
    (settings.keys_dir / "API_KEY").write_text("")  # as a start that was killed could leave it
    files = ensure_keys(settings)
    texts = {name: path.read_text() for name, path in files.items()}
    assert set(files) == set(KEY_NAMES)
    assert len(set(texts.values())) == 3
    assert all(len(text.strip()) >= 40 for text in texts.values())
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files.values())
    assert {name: path.read_text() for name, path in ensure_keys(settings).items()} == texts
    assert "API_KEY" not in ensure_keys(replace(settings, api_key="k" * 20))
    assert ensure_keys(replace(settings, role=Role.WORKER)) == {}


def test_two_appliances_of_one_machine_have_different_names_and_each_keeps_its_own(
    settings: Settings,
) -> None:
    name = ensure_host_name(settings)
    assert re.fullmatch(r"[A-Za-z0-9._-]+-[0-9a-f]{8}", name)
    assert name.startswith(socket.gethostname()[:20])
    assert ensure_host_name(settings) == name
    for text in ("", "two words\n", "a/b\n"):
        settings.host_name_file.write_text(text)
        assert ensure_host_name(settings) not in {text.strip(), name}
    settings.host_name_file.unlink()
    settings.host_name_file.mkdir()
    with pytest.raises(BootError, match=r"host-name .*: remove what is there"):
        ensure_host_name(settings)


def test_the_programs_get_what_boot_decided_and_no_key(settings: Settings) -> None:
    files = ensure_keys(settings)
    (settings.data_dir.parent / "workers").write_text("3")
    given = {
        "API_KEY": " ",
        "PATH": os.environ["PATH"],
        "WORKERS_FILE": str(settings.data_dir.parent / "workers"),
        "MALLOC_TRIM_THRESHOLD_": "9",
    }
    settings = replace(settings, memory_limit_mb=1900)
    environment = program_environment(given, settings, files, SIZING, "box-1")
    read = Settings.from_environment(environment)
    key = files["API_KEY"].read_text().strip()
    assert read.api_key == key
    assert (read.workers, read.worker_memory_limit_mb, read.memory_limit_mb) == (2, 170, 1900)
    assert read.data_dir.is_absolute()
    assert host_name(environment) == "box-1"
    assert host_name({}) == socket.gethostname()
    assert key not in environment.values()
    # They give freed memory back unless told otherwise.
    assert environment["MALLOC_TRIM_THRESHOLD_"] == "9"
    assert environment["MALLOC_ARENA_MAX"] == "2"
    assert environment["GLIBC_TUNABLES"] == "glibc.malloc.tcache_count=0"
    assert program_environment({}, settings, {}, SIZING, "")["MALLOC_TRIM_THRESHOLD_"] == "131072"


def test_a_port_or_host_that_cannot_be_listened_on_is_named_with_its_setting(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port, other = (int(one.getsockname()[1]) for one in (listener, free))
        free.close()
        with pytest.raises(BootError, match=rf"METRICS_PORT: port {port} .* set METRICS_PORT=") as taken:
            check_ports(replace(settings, port=other, metrics_port=port))
        assert "\n" not in str(taken.value)
        with pytest.raises(BootError, match="HOST"):
            check_ports(replace(settings, host="192.0.2.1", port=other))


def test_redis_accepts_the_configuration_even_with_blanks_and_quotes_in_the_path(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / 'my "data" dir')
    make_folders(settings)
    write_redis_config(settings)
    assert "appendfsync no" in redis_config(settings).splitlines()
    with subprocess.Popen(["redis-server", str(redis_config_file(settings))]) as server:
        try:
            patience = Retry(ConstantBackoff(0.05), 1200)
            with redis.Redis(unix_socket_path=str(settings.redis_socket), retry=patience) as client:
                read = client.config_get("*")
        finally:
            server.terminate()
    wanted = {
        "port": "0",
        "appendonly": "yes",
        "maxmemory-policy": "noeviction",
        "save": "",
        "databases": "1",
    }
    assert {name: read[name] for name in wanted} == wanted
    assert int(read["maxmemory"]) == 64 * 2**20


LOCKED = """
import os, sys
from pathlib import Path
from ops.run.lock import hold_lock
hold_lock(Path(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-c", "import sys; print('held', flush=True); sys.stdin.read()"])
"""


def test_the_lock_outlives_exec_and_ends_with_the_process(tmp_path: Path) -> None:
    def start() -> subprocess.Popen[str]:
        words, pipe = [sys.executable, "-c", LOCKED, str(tmp_path)], subprocess.PIPE
        return subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    with start() as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with start() as second:
            _, said = second.communicate()
        holder.communicate()
    assert f"Another appliance (process {holder.pid}) runs on DATA_DIR {tmp_path}" in said
    with start() as third:
        assert third.communicate()[0] == "held\n"
