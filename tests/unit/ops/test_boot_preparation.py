from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ops.run.folders import empty_folder, make_folders
from ops.run.host_name import ensure_host_name
from ops.run.keys import ensure_keys
from ops.run.model_check import check_models, require_ready_models
from ops.run.ports import check_ports
from ops.run.program_environment import program_environment
from ops.run.redis_config import redis_config
from ops.run.sizing import Sizing
from shared.appliance.program_start import host_name
from shared.build import ROOT
from shared.errors import BootError
from shared.models.activation.records import Activations, State, VersionRecord
from shared.models.catalog import ModelCatalog
from shared.settings import KEY_NAMES, Role, Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", models_dir=tmp_path / "models")


def copy_models(settings: Settings) -> None:
    ignored = shutil.ignore_patterns("*.py", "__pycache__")
    shutil.copytree(ROOT / "models", settings.models_dir, ignore=ignored)


def test_the_folders_are_private_and_a_second_time_changes_nothing(settings: Settings) -> None:
    make_folders(settings)
    make_folders(settings)
    for folder in (settings.run_dir, settings.keys_dir, settings.objects_dir, settings.tmp_dir):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_data_dir_that_is_a_file_is_refused_with_the_setting(settings: Settings) -> None:
    settings.data_dir.write_text("not a folder")
    with pytest.raises(BootError, match="DATA_DIR"):
        make_folders(settings)


def refusal_as_a_plain_user(data_dir: Path) -> str:
    """Return boot's message to a user without rights about a folder of root's."""
    code = (
        "import os, sys; from pathlib import Path; from ops.run.folders import make_folders\n"
        "from ops.run.lock import hold_lock; from shared.settings import Settings\n"
        "os.setgroups([]); os.setgid(12345); os.setuid(12345); settings = Settings(data_dir=Path(sys.argv[1]))\n"
        "make_folders(settings); hold_lock(settings.data_dir)"
    )
    command = [sys.executable, "-c", code, str(data_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("BootError: ")[2]


@pytest.fixture
def volume() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="shapbox-"
    ) as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        data_dir = Path(folder) / "data"
        data_dir.mkdir(mode=0o755)
        yield data_dir


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_volume_of_roots_is_refused_with_the_user_and_the_chown_that_helps(volume: Path) -> None:
    said = refusal_as_a_plain_user(volume)
    assert f"{volume} belongs to user 0, and Shapbox runs as user 12345" in said
    command = said.partition("`")[2].partition("`")[0]
    subprocess.run(["sh", "-c", command], check=True)
    assert refusal_as_a_plain_user(volume) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_lock_file_that_root_left_behind_is_named(volume: Path) -> None:
    os.chown(volume, 12345, 12345)
    (volume / "lock").touch(mode=0o600)
    assert f"{volume}/lock cannot be opened" in refusal_as_a_plain_user(volume)


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


def test_left_uploads_are_removed_and_nothing_else(settings: Settings) -> None:
    make_folders(settings)
    (settings.tmp_dir / "upload").write_bytes(b"half")
    empty_folder(settings.tmp_dir)
    assert list(settings.tmp_dir.iterdir()) == []


def test_each_unset_key_is_made_once_and_kept_private(settings: Settings) -> None:
    make_folders(settings)
    files = ensure_keys(settings)
    texts = {name: path.read_text() for name, path in files.items()}
    assert set(files) == set(KEY_NAMES)
    assert len(set(texts.values())) == 3
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files.values())
    assert {name: path.read_text() for name, path in ensure_keys(settings).items()} == texts


def test_a_key_that_is_set_is_not_made(settings: Settings) -> None:
    make_folders(settings)
    assert "API_KEY" not in ensure_keys(replace(settings, api_key="k" * 20))


def test_where_only_workers_run_no_key_is_made(settings: Settings) -> None:
    make_folders(settings)
    assert ensure_keys(replace(settings, role=Role.WORKER)) == {}
    assert list(settings.keys_dir.iterdir()) == []


def test_an_empty_key_file_is_replaced(settings: Settings) -> None:
    make_folders(settings)
    (settings.keys_dir / "API_KEY").write_text("")
    assert len(ensure_keys(settings)["API_KEY"].read_text().strip()) >= 40


def test_two_appliances_of_one_machine_have_different_names_and_each_keeps_its_own(
    settings: Settings,
) -> None:
    other = replace(settings, data_dir=settings.data_dir.with_name("other"))
    for one in (settings, other):
        make_folders(one)
    name = ensure_host_name(settings)
    assert name.startswith(socket.gethostname()[:20])
    assert ensure_host_name(settings) == name
    assert ensure_host_name(other) != name


@pytest.mark.parametrize("text", ["", "two words\n", "a/b\n"])
def test_a_name_that_is_none_is_made_again(settings: Settings, text: str) -> None:
    make_folders(settings)
    settings.host_name_file.write_text(text)
    name = ensure_host_name(settings)
    assert name != text.strip()
    assert settings.host_name_file.read_text() == f"{name}\n"


def test_a_name_that_cannot_be_kept_is_refused_with_what_to_do(settings: Settings) -> None:
    make_folders(settings)
    settings.host_name_file.mkdir()
    with pytest.raises(BootError, match=r"host-name .*: remove what is there"):
        ensure_host_name(settings)


def test_without_boot_a_program_goes_by_the_machines_name() -> None:
    assert host_name({}) == socket.gethostname()


def test_the_programs_get_key_files_and_absolute_paths_but_no_key(settings: Settings) -> None:
    make_folders(settings)
    files = ensure_keys(settings)
    environment = program_environment(
        {"API_KEY": " ", "PATH": "/bin"}, settings, files, Sizing(2, 170, "test"), "box-1"
    )
    read = Settings.from_environment(environment)
    key = files["API_KEY"].read_text().strip()
    assert read.api_key == key
    assert (read.workers, read.worker_memory_limit_mb) == (2, 170)
    assert read.data_dir.is_absolute()
    assert host_name(environment) == "box-1"
    assert key not in environment.values()


def test_what_boot_decided_replaces_a_setting_that_was_given_as_a_file(settings: Settings) -> None:
    (settings.data_dir.parent / "workers").write_text("3")
    given = {"WORKERS_FILE": str(settings.data_dir.parent / "workers")}
    environment = program_environment(given, settings, {}, Sizing(3, 170, "test"), "box-1")
    assert Settings.from_environment(environment).workers == 3


def test_the_memory_limit_that_boot_decided_is_passed_on(settings: Settings) -> None:
    environment = program_environment(
        {}, replace(settings, memory_limit_mb=1900), {}, Sizing(2, 170, "test"), "box-1"
    )
    assert Settings.from_environment(environment).memory_limit_mb == 1900


def test_the_programs_give_freed_memory_back_unless_told_otherwise(settings: Settings) -> None:
    def environment(given: dict[str, str]) -> dict[str, str]:
        return program_environment(given, settings, {}, Sizing(2, 170, "test"), "box-1")

    assert environment({})["MALLOC_TRIM_THRESHOLD_"] == "131072"
    assert environment({})["MALLOC_ARENA_MAX"] == "2"
    assert environment({})["GLIBC_TUNABLES"] == "glibc.malloc.tcache_count=0"
    assert environment({"MALLOC_TRIM_THRESHOLD_": "9"})["MALLOC_TRIM_THRESHOLD_"] == "9"


def test_a_taken_port_is_named_with_its_setting_and_another_port(settings: Settings) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = int(listener.getsockname()[1])
        with pytest.raises(BootError, match=rf"METRICS_PORT: port {port} .* set METRICS_PORT="):
            check_ports(replace(settings, port=_free_port(), metrics_port=port))


def test_a_host_that_is_not_ours_is_named(settings: Settings) -> None:
    with pytest.raises(BootError, match="HOST"):
        check_ports(replace(settings, host="192.0.2.1", port=_free_port()))


def test_the_embedded_redis_has_a_socket_only_and_never_evicts(settings: Settings) -> None:
    lines = redis_config(settings).splitlines()
    assert {
        "port 0",
        "appendonly yes",
        "maxmemory-policy noeviction",
        'save ""',
        "appendfsync no",
    } <= set(lines)


def test_redis_accepts_the_configuration_even_with_blanks_and_quotes_in_the_path(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / 'my "data" dir')
    make_folders(settings)
    config = settings.run_dir / "redis.conf"
    config.write_text(redis_config(settings) + "\n")
    server = subprocess.Popen(["redis-server", str(config)], stdout=subprocess.PIPE, text=True)
    try:
        connected = _await(settings.redis_socket)
    finally:
        server.terminate()
        output, _ = server.communicate(timeout=60)
    assert connected, output


def spoil(settings: Settings, *names: str) -> None:
    for name in names:
        (settings.models_dir / name / "1" / "model.ubj").unlink()


def test_sound_models_are_counted(settings: Settings) -> None:
    copy_models(settings)
    assert check_models(settings) == []
    assert require_ready_models(settings, Activations()) == 3


def test_a_faulty_model_is_told_and_the_others_are_served(settings: Settings) -> None:
    copy_models(settings)
    spoil(settings, "wine")
    (fault,) = check_models(settings)
    assert fault.model == "wine@1"
    assert "model.ubj" in fault.what
    assert not settings.placeholders_dir.exists()


def test_if_all_models_are_faulty_each_is_named_with_its_remedy(settings: Settings) -> None:
    copy_models(settings)
    names = ("breast-cancer", "diabetes", "wine")
    spoil(settings, *names)
    with pytest.raises(BootError) as refused:
        check_models(settings)
    for name in names:
        assert f"python -m ops.models add {name} FILE --version 1" in str(refused.value)
    assert "ALLOW_FALLBACK_MODEL=true" in str(refused.value)


def test_no_model_at_all_is_refused(settings: Settings) -> None:
    with pytest.raises(BootError, match=r"models cannot be used(.|\n)*python -m ops\.models add"):
        check_models(settings)


def test_a_placeholder_replaces_a_faulty_model_only_when_allowed(settings: Settings) -> None:
    copy_models(settings)
    spoil(settings, "wine")
    allowed = replace(settings, allow_fallback_model=True)
    (fault,) = check_models(allowed)
    assert fault.model == "wine@1"
    catalog = ModelCatalog.load(settings.models_dir, settings.placeholders_dir)
    assert [model.id for model in catalog.versions() if model.fallback] == ["wine@1"]
    assert require_ready_models(allowed, Activations()) == 3


def test_without_any_model_the_default_model_gets_the_placeholder(settings: Settings) -> None:
    allowed = replace(settings, allow_fallback_model=True, default_model="churn")
    check_models(allowed)
    assert require_ready_models(allowed, Activations()) == 1
    assert ModelCatalog.load(settings.models_dir, settings.placeholders_dir).get("churn").fallback


def test_a_default_model_that_is_not_there_is_refused_with_those_that_are(settings: Settings) -> None:
    copy_models(settings)
    with pytest.raises(BootError, match=r"DEFAULT_MODEL: There is no model 'churn'.*wine@1"):
        check_models(replace(settings, default_model="churn"))
    with pytest.raises(BootError, match="DEFAULT_MODEL"):
        check_models(replace(settings, default_model="wine@2"))


@pytest.mark.parametrize("default", ["wine", "wine@1"])
def test_a_default_model_whose_files_are_at_fault_is_refused(settings: Settings, default: str) -> None:
    copy_models(settings)
    spoil(settings, "wine")
    with pytest.raises(BootError, match=f"wine@1(.|\n)*DEFAULT_MODEL: {default}"):
        check_models(replace(settings, default_model=default))
    assert [fault.model for fault in check_models(replace(settings, default_model="diabetes"))] == ["wine@1"]


def refused(*names: str) -> Activations:
    return Activations(
        versions={f"{name}@1": VersionRecord("key", State.REFUSED, f"no {name} today") for name in names}
    )


def test_a_default_model_that_activation_refused_ends_the_start_with_the_reason(settings: Settings) -> None:
    copy_models(settings)
    with pytest.raises(BootError, match=r"DEFAULT_MODEL cannot be served: Model wine@1.*no wine today"):
        require_ready_models(replace(settings, default_model="wine"), refused("wine"))
    assert require_ready_models(replace(settings, default_model="diabetes"), refused("wine")) == 2


def test_if_no_model_is_ready_each_is_named_with_its_reason(settings: Settings) -> None:
    copy_models(settings)
    with pytest.raises(BootError) as ended:
        require_ready_models(settings, refused("breast-cancer", "diabetes", "wine"))
    for name in ("breast-cancer", "diabetes", "wine"):
        assert f"{name}@1" in str(ended.value)
        assert f"no {name} today" in str(ended.value)


def test_placeholders_of_an_earlier_start_go_once_the_model_is_mended(settings: Settings) -> None:
    copy_models(settings)
    (settings.placeholders_dir / "wine" / "1").mkdir(parents=True)
    check_models(settings)
    assert not settings.placeholders_dir.exists()


LOCKED = """
import sys
from pathlib import Path
from ops.run.lock import hold_lock
import os
hold_lock(Path(sys.argv[1]))
os.execv(sys.executable, [sys.executable, "-c", "import sys; print('held', flush=True); sys.stdin.read()"])
"""


def test_the_lock_outlives_exec_and_ends_with_the_process(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOCKED, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        refused = _try_lock(tmp_path)
        holder.communicate()
    assert f"process {holder.pid}" in refused
    assert _try_lock(tmp_path) == ""


def _try_lock(data_dir: Path) -> str:
    code = "import sys; from pathlib import Path; from ops.run.lock import hold_lock; hold_lock(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(data_dir)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stderr


def _await(path: Path) -> bool:
    for _ in range(1200):
        with socket.socket(socket.AF_UNIX) as client:
            if path.exists() and client.connect_ex(os.fspath(path)) == 0:
                return True
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
