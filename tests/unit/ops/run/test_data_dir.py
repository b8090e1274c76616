"""DATA_DIR, the ports, the embedded Redis's configuration and the programs' environment."""

from __future__ import annotations

import errno
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
import tempfile
from configparser import RawConfigParser
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from ops.run.data_dir import empty_folder, ensure_host_name, ensure_keys, make_folders
from ops.run.ports import check_ports
from ops.run.program_environment import GIVE_BACK, program_environment
from shared.appliance.program_start import host_name
from shared.build import ROOT
from shared.errors import BootError
from shared.settings import KEY_NAMES, Role, Settings

#: Boots as far as the lock, as the user ARGV[2].
BOOT = """
import os, sys
from pathlib import Path
from ops.run.data_dir import make_folders
from ops.run.lock import hold_lock
from shared.settings import Settings
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
settings = Settings(data_dir=Path(sys.argv[1]))
make_folders(settings)
hold_lock(settings.data_dir)
"""


def refusal(data_dir: Path) -> str:
    """Return boot's refusal to the user 12345, or nothing."""
    words = [sys.executable, "-c", BOOT, str(data_dir), "12345"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("BootError: ")[2] if done.returncode else ""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")
    make_folders(made)
    return made


def test_left_uploads_go_and_folders_are_made_private_again(settings: Settings) -> None:
    (settings.tmp_dir / "upload").write_bytes(b"half")
    settings.keys_dir.chmod(0o755)
    make_folders(settings)
    empty_folder(settings.tmp_dir)
    assert stat.S_IMODE(settings.keys_dir.stat().st_mode) == 0o700
    assert list(settings.tmp_dir.iterdir()) == []


def test_a_data_dir_that_cannot_be_written_is_refused_with_the_setting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(BootError, match=r"DATA_DIR .*Read-only file system.* Mount a writable disk"):
        make_folders(settings)
    (settings.data_dir / "file").write_text("not a folder")
    with pytest.raises(BootError, match="DATA_DIR"):
        make_folders(Settings(data_dir=settings.data_dir / "file"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_root_left_is_refused_with_the_user_and_the_command_that_helps() -> None:
    # pytest's own folders are closed to others.
    with tempfile.TemporaryDirectory(prefix="shapbox-") as folder:
        Path(folder).chmod(0o755)
        volume = Path(folder) / "data"
        volume.mkdir(mode=0o755)
        said = refusal(volume)
        assert "Shapbox runs as user 12345" in said
        (volume / "lock").touch(mode=0o600)
        os.chown(volume, 12345, 12345)
        assert f"{volume}/lock cannot be opened" in refusal(volume)
        subprocess.run(["sh", "-c", said.split("`")[1]], check=True)
        assert refusal(volume) == ""


def test_each_unset_key_is_made_once_and_kept_private(settings: Settings) -> None:
    (settings.keys_dir / "API_KEY").write_text("")  # as a start that was killed could leave it
    files = ensure_keys(settings)
    texts = {name: path.read_text() for name, path in files.items()}
    assert set(files) == set(KEY_NAMES)
    assert len(set(texts.values())) == 3
    assert all(len(text.strip()) >= 40 for text in texts.values())
    files["API_KEY"].chmod(0o644)
    assert {name: path.read_text() for name, path in ensure_keys(settings).items()} == texts
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files.values())
    assert "API_KEY" not in ensure_keys(replace(settings, api_key="k" * 20))
    assert ensure_keys(replace(settings, role=Role.WORKER)) == {}


def test_an_appliance_of_a_shared_hostname_has_a_name_of_its_own_and_keeps_it(settings: Settings) -> None:
    name = ensure_host_name(settings)
    assert re.fullmatch(r"[A-Za-z0-9._-]+-[0-9a-f]{8}", name)
    assert name.startswith(socket.gethostname()[:20])
    assert ensure_host_name(settings) == name
    for text in ("", "two words\n", "a/b\n"):
        settings.host_name_file.write_text(text)
        assert ensure_host_name(settings) not in {text.strip(), name}
    settings.host_name_file.unlink()
    settings.host_name_file.mkdir()
    with pytest.raises(BootError, match=r"host-name cannot .*: remove what is there"):
        ensure_host_name(settings)


def test_the_programs_get_what_boot_decided_and_no_key(settings: Settings, tmp_path: Path) -> None:
    files = ensure_keys(settings)
    (tmp_path / "workers").write_text("3")
    given = {"API_KEY": " ", "WORKERS_FILE": str(tmp_path / "workers"), "MALLOC_TRIM_THRESHOLD_": "9"}
    given["PATH"] = os.environ["PATH"]
    decided = replace(settings, memory_limit_mb=1900, workers=2, worker_memory_limit_mb=170)
    environment = program_environment(given, decided, files, "box-1")
    read = Settings.from_environment(environment)
    key = files["API_KEY"].read_text().strip()
    assert read.api_key == key
    assert key not in environment.values()
    assert (read.workers, read.worker_memory_limit_mb, read.memory_limit_mb) == (2, 170, 1900)
    assert host_name(environment) == "box-1"
    assert host_name({}) == socket.gethostname()
    # They give freed memory back unless told otherwise.
    assert {name: environment[name] for name in GIVE_BACK} == {**GIVE_BACK, "MALLOC_TRIM_THRESHOLD_": "9"}


def test_a_port_or_host_that_cannot_be_listened_on_is_named_with_its_setting(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
        with pytest.raises(BootError, match=rf"^METRICS_PORT: port {port} .* set METRICS_PORT="):
            check_ports(replace(settings, metrics_port=port))
        with pytest.raises(BootError, match=f"port {port} on :: is taken"):
            check_ports(replace(settings, host="::", metrics_port=port))
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(BootError, match=r"HOST: .*use 127"):
            check_ports(replace(settings, host=host, metrics_port=port))


def test_the_limit_of_open_files_is_raised_to_what_connections_need_or_refused() -> None:
    program = """
import resource, sys
from ops.run.file_limit import raise_file_limit
from shared.errors import BootError
from shared.settings import Settings
try:
    for limits in ((64, 3000), (64, 2000)):
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        raise_file_limit(Settings(max_connections=1000))
        print(*resource.getrlimit(resource.RLIMIT_NOFILE))
except BootError as error:
    print(error)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    raised, refused = ran.stdout.splitlines()
    assert raised == "2164 3000"
    assert "MAX_CONNECTIONS=1000 needs up to 2164 open files, and the hard limit is 2000" in refused


def test_supervisord_starts_redis_with_its_configuration_even_with_blanks_in_the_path(tmp_path: Path) -> None:
    settings = replace(Settings(), data_dir=tmp_path / "my data dir")
    make_folders(settings)
    environment = program_environment(os.environ, settings, {}, "box-1")
    programs = RawConfigParser(strict=False, comment_prefixes=(";",))
    programs.read(ROOT / "supervisord.conf")
    command = programs["program:redis"]["command"].replace("%(here)s", str(ROOT))
    command = re.sub(r"%\(ENV_(\w+)\)s", lambda found: environment[found[1]], command)
    with subprocess.Popen(shlex.split(command), cwd=ROOT, env=environment) as server:
        try:
            patience = Retry(ConstantBackoff(0.05), 1200)
            with redis.Redis(unix_socket_path=str(settings.redis_socket), retry=patience) as client:
                read = client.config_get("*")
        finally:
            server.terminate()
    wanted = {"port": "0", "appendonly": "yes", "appendfsync": "no", "save": "", "databases": "1"}
    wanted |= {"maxmemory-policy": "noeviction", "maxmemory": str(64 * 2**20), "loglevel": "warning"}
    assert {name: read[name] for name in wanted} == wanted
    assert (settings.redis_dir / "appendonlydir").is_dir()
