"""Damaged files of the embedded Redis: mended where only a tail is lost, else refused."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from ops.run.append_only_file import MANIFEST, mend_append_only_file
from shared.errors import BootError
from shared.redis.aof_sync import FOLDER
from shared.settings import Settings
from tests.support.redis_server import RedisServer

#: Keys that are written one by one, and at last several in one transaction.
KEYS, LAST = 200, 5


@pytest.fixture
def written(tmp_path: Path) -> tuple[Settings, Path]:
    """Have Redis write a file; returns its folder."""
    settings = Settings(data_dir=tmp_path)
    settings.redis_socket.parent.mkdir(parents=True, exist_ok=True)
    server = RedisServer(settings)
    server.start()
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        for number in range(KEYS):
            client.set(f"key:{number}", b"value\r\n*1\r" * 3)
        with client.pipeline(transaction=True) as pipe:
            for number in range(LAST):
                pipe.set(f"last:{number}", b"x" * 400)
            pipe.execute()
    server.kill()
    return settings, server.socket.parent


def incr(folder: Path) -> Path:
    return folder / FOLDER / "appendonly.aof.1.incr.aof"


def keys_after_start(settings: Settings) -> int:
    server = RedisServer(settings)
    server.start()
    with redis.Redis(unix_socket_path=str(server.socket)) as client:
        found = client.dbsize()
    server.kill()
    return int(found)


def zeros_after(data: bytes) -> bytes:
    return data + bytes(4096)


def torn(data: bytes) -> bytes:
    return data[:-100]


def zeros_in_the_last_transaction(data: bytes) -> bytes:
    return data[:-1000] + bytes(1000)


def zeros_in_the_last_command(data: bytes) -> bytes:
    """Overwrite the end of the last command before the transaction, and all after it."""
    start = data.index(b"MULTI") - 40
    return data[:start] + bytes(len(data) - start)


def a_lost_page(data: bytes) -> bytes:
    """Leave a hole: of unsynced pages, the disk has got a later one and not an earlier one."""
    return data[:8192] + bytes(4096) + data[12288:]


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (a_lost_page, 131),
        (zeros_after, KEYS + LAST),
        (torn, KEYS),
        (zeros_in_the_last_transaction, KEYS),
        (zeros_in_the_last_command, KEYS - 1),
    ],
)
def test_a_damaged_tail_is_removed_and_a_copy_kept(
    written: tuple[Settings, Path],
    damage: Callable[[bytes], bytes],
    kept: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings, folder = written
    damaged = damage(incr(folder).read_bytes())
    incr(folder).write_bytes(damaged)
    mend_append_only_file(folder)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    [copy] = folder.glob(f"{FOLDER}-damaged-*")
    assert (copy / incr(folder).name).read_bytes() == damaged
    assert keys_after_start(settings) == kept
    mend_append_only_file(folder)  # all is well now
    assert len(caplog.records) == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 90], ids=["empty", "zeros"])
def test_an_empty_manifest_is_written_anew(written: tuple[Settings, Path], content: bytes) -> None:
    settings, folder = written
    manifest = folder / FOLDER / MANIFEST
    before = manifest.read_bytes()
    manifest.write_bytes(content)
    mend_append_only_file(folder)
    assert manifest.read_bytes() == before
    assert keys_after_start(settings) == KEYS + LAST


def test_damage_in_the_middle_is_refused_with_commands_that_work(written: tuple[Settings, Path]) -> None:
    settings, folder = written
    data = incr(folder).read_bytes()
    start = data.index(b"key:100") - 2
    incr(folder).write_bytes(data[:start] + bytes(6) + data[start + 6 :])
    before = {path.name: path.read_bytes() for path in (folder / FOLDER).iterdir()}
    with pytest.raises(BootError, match="is damaged at byte") as refused:
        mend_append_only_file(folder)
    assert {path.name: path.read_bytes() for path in (folder / FOLDER).iterdir()} == before
    commands = re.findall(r": (cp -a .*|mv .*)", str(refused.value))
    rescued = folder.with_name("rescued")
    shutil.copytree(folder / FOLDER, rescued / FOLDER)
    subprocess.run(commands[0].replace(f"{folder}/", f"{rescued}/"), shell=True, input=b"y\n", check=True)
    mend_append_only_file(rescued)
    subprocess.run(commands[1], shell=True, check=True)
    mend_append_only_file(folder)
    assert keys_after_start(settings) == 0


def test_two_bases_without_a_manifest_are_refused(written: tuple[Settings, Path]) -> None:
    _, folder = written
    base = folder / FOLDER / "appendonly.aof.1.base.rdb"
    shutil.copy(base, base.with_name("appendonly.aof.2.base.rdb"))
    (folder / FOLDER / MANIFEST).write_bytes(b"")
    with pytest.raises(BootError, match="do not tell their order"):
        mend_append_only_file(folder)
    assert not [*folder.glob("*-damaged-*")]  # each start of a platform would leave one more


def test_a_new_folder_and_a_sound_file_are_left_alone(
    written: tuple[Settings, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, folder = written
    mend_append_only_file(folder)
    mend_append_only_file(tmp_path / "new")
    assert not caplog.records
    assert not [*folder.glob("*-damaged-*")]
