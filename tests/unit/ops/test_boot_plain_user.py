from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.run.plain_user import USER_NAME, PlainUser, become_plain_user, hand_over
from shared.build import ROOT
from shared.errors import BootError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
USER = PlainUser(10001, 10002)


def owner(path: Path) -> tuple[int, int]:
    facts = path.lstat()
    return facts.st_uid, facts.st_gid


def run_as_root(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own: what it gives up, the tests' own process must keep."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_outside_of_a_container_root_stays_root(tmp_path: Path) -> None:
    assert become_plain_user({"DATA_DIR": str(tmp_path / "data")}) is False
    assert not (tmp_path / "data").exists()


@as_root
@pytest.mark.parametrize("text", ["0:0", "10001", "shapbox", "10001:0"])
def test_a_user_that_is_root_or_no_user_is_refused(text: str) -> None:
    with pytest.raises(BootError, match="UID:GID"):
        become_plain_user({USER_NAME: text})


@as_root
def test_all_in_the_folder_changes_hands_but_what_links_lead_to_and_what_the_filesystem_keeps(
    tmp_path: Path,
) -> None:
    disk, outside = tmp_path / "disk", tmp_path / "outside"
    (disk / "objects" / "job").mkdir(parents=True)
    (disk / "objects" / "job" / "0.npy").touch()
    (disk / "lost+found").mkdir()
    outside.touch()
    (disk / "link").symlink_to(outside)
    hand_over(disk, USER)
    for path in (disk, disk / "objects", disk / "objects" / "job", disk / "objects" / "job" / "0.npy"):
        assert owner(path) == (USER.uid, USER.gid), path
    assert owner(disk / "link") == (USER.uid, USER.gid)
    assert owner(outside) == (0, 0)
    assert owner(disk / "lost+found") == (0, 0)


@as_root
def test_what_root_has_restored_below_the_users_own_folder_changes_hands_as_well(tmp_path: Path) -> None:
    hand_over(tmp_path, USER)
    (tmp_path / "restored").touch()
    hand_over(tmp_path, USER)
    assert owner(tmp_path / "restored") == (USER.uid, USER.gid)


@as_root
@pytest.mark.parametrize("capabilities", ["chown", "chown,dac_override"])
def test_closed_folders_of_roots_change_hands_with_all_that_is_in_them(
    capabilities: str, tmp_path: Path
) -> None:
    (tmp_path / "disk" / "keys").mkdir(parents=True, mode=0o700)
    (tmp_path / "disk" / "keys" / "API_KEY").touch(mode=0o600)
    code = (
        "from pathlib import Path\nfrom ops.run.plain_user import PlainUser, hand_over\n"
        f"for _ in range(2):\n    hand_over(Path({str(tmp_path / 'disk')!r}), PlainUser(10001, 10002))\n"
    )
    # As in a container that leaves root nothing but these.
    limited = ["setpriv", f"--bounding-set=-all,+{capabilities.replace(',', ',+')}", "--inh-caps=-all"]
    done = subprocess.run(
        [*limited, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "disk", *(tmp_path / "disk").rglob("*")):
        assert owner(path) == (USER.uid, USER.gid), path


@as_root
def test_root_is_gone_for_good_and_no_program_gets_it_back(tmp_path: Path) -> None:
    code = (
        "import os\nfrom pathlib import Path\nfrom ops.run.plain_user import become_plain_user\n"
        "os.setgroups([4, 27])\nassert become_plain_user(os.environ)\n"
        "print(os.getresuid(), os.getresgid(), os.getgroups())\n"
        "print([line.split()[1] for line in Path('/proc/self/status').read_text().splitlines()"
        " if line.startswith(('CapEff', 'CapPrm', 'NoNewPrivs'))])\n"
        "try:\n    os.setuid(0)\nexcept PermissionError:\n    print('refused')\n"
    )
    done = run_as_root(code, SHAPBOX_USER="10001:10002", DATA_DIR=str(tmp_path / "data"))
    assert done.stdout.splitlines() == [
        "(10001, 10001, 10001) (10002, 10002, 10002) []",
        "['0000000000000000', '0000000000000000', '1']",
        "refused",
    ], done.stderr
    assert owner(tmp_path / "data") == (10001, 10002)


@as_root
def test_an_output_that_is_a_pipe_can_be_opened_again_by_the_user(tmp_path: Path) -> None:
    code = (
        "import os\nfrom ops.run.plain_user import become_plain_user\n"
        "become_plain_user(os.environ)\n"
        "open('/dev/fd/1', 'w').write('from the user\\n')\n"
    )
    done = run_as_root(code, SHAPBOX_USER="10001:10001", DATA_DIR=str(tmp_path / "data"))
    assert done.stdout == "from the user\n", done.stderr


@as_root
def test_a_disk_that_cannot_be_given_away_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BootError, match="CHOWN"):
        become_plain_user({USER_NAME: "10001:10001", "DATA_DIR": str(tmp_path / "file" / "data")})
