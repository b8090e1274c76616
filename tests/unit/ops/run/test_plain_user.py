"""Root hands the disk over and is gone for good."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.run.plain_user import USER_NAME, become_plain_user
from shared.build import ROOT
from shared.errors import BootError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
USER = (10001, 10002)
HAND_OVER_TWICE = """
import sys
from pathlib import Path
from ops.run.plain_user import PlainUser, hand_over
for _ in range(2):
    hand_over(Path(sys.argv[1]), PlainUser(10001, 10002))
"""
BECOME = """
import os
from pathlib import Path
from ops.run.plain_user import become_plain_user
os.setgroups([4, 27])
become_plain_user(os.environ)
print(os.getresuid(), os.getresgid(), os.getgroups())
lines = map(str.split, Path("/proc/self/status").read_text().splitlines())
print([words[1] for words in lines if words[0] in {"CapEff:", "CapPrm:", "NoNewPrivs:"}])
try:
    os.setuid(0)
except PermissionError:
    print("refused", flush=True)
open("/dev/fd/1", "w").write("a pipe that the user opened again\\n")
"""


def owners(*paths: Path) -> set[tuple[int, int]]:
    return {(path.lstat().st_uid, path.lstat().st_gid) for path in paths}


def test_outside_of_a_container_root_stays_root(tmp_path: Path) -> None:
    become_plain_user({"DATA_DIR": str(tmp_path / "data")})
    assert not (tmp_path / "data").exists()


@as_root
def test_root_no_user_and_a_disk_that_cannot_be_given_away_are_refused(tmp_path: Path) -> None:
    for text in ("0:0", "10001", "shapbox", "10001:0"):
        with pytest.raises(BootError, match="UID:GID"):
            become_plain_user({USER_NAME: text})
    (tmp_path / "file").touch()
    with pytest.raises(BootError, match="CHOWN"):
        become_plain_user({USER_NAME: "10001:10001", "DATA_DIR": str(tmp_path / "file" / "data")})


@as_root
@pytest.mark.parametrize("capabilities", ["+chown", "+chown,+dac_override"])
def test_a_disk_changes_hands_but_not_what_links_lead_to_and_what_the_filesystem_keeps(
    capabilities: str, tmp_path: Path
) -> None:
    disk, outside = tmp_path / "disk", tmp_path / "outside"
    (disk / "keys").mkdir(parents=True, mode=0o700)
    (disk / "keys" / "API_KEY").touch(mode=0o600)
    (disk / "lost+found").mkdir()
    outside.touch()
    (disk / "link").symlink_to(outside)
    # As in a container that leaves root nothing but these.
    words = ["setpriv", f"--bounding-set=-all,{capabilities}", "--inh-caps=-all"]
    words += [sys.executable, "-c", HAND_OVER_TWICE, str(disk)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert owners(disk / "lost+found", outside) == {(0, 0)}
    assert owners(disk, *(one for one in disk.rglob("*") if one.name != "lost+found")) == {USER}


@as_root
def test_root_is_gone_for_good_and_its_outputs_can_be_opened_again(tmp_path: Path) -> None:
    restored = tmp_path / "data" / "objects" / "job"
    restored.mkdir(parents=True)  # by root, below the user's own folder
    os.chown(tmp_path / "data", *USER)
    done = subprocess.run(
        [sys.executable, "-c", BECOME],
        cwd=ROOT,
        env={**os.environ, USER_NAME: "10001:10002", "DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "(10001, 10001, 10001) (10002, 10002, 10002) []",
        "['0000000000000000', '0000000000000000', '1']",
        "refused",
        "a pipe that the user opened again",
    ], done.stderr
    assert owners(tmp_path / "data", restored) == {USER}
