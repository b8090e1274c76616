"""Drops root for good in a container that was started as root, and hands the disk over.

Render mounts a fresh disk as root's, and its image cannot be told to run as another user than the one it was built
with. So the image that is built there starts as root (SHAPBOX_BOOT_USER in the Dockerfile), and this is the first
thing that boot does: nothing of Shapbox runs as root, and nothing can become it again.
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from shared.errors import BootError
from shared.settings import Settings

#: Names the user that an image's programs run as, as UID:GID. Unset outside of containers: root stays root there.
USER_NAME = "SHAPBOX_USER"
#: prctl's number for "exec gives no privileges any more" (linux/prctl.h), which no program can take back.
PR_SET_NO_NEW_PRIVS = 38
#: Files that a filesystem keeps for itself at its top.
KEPT_BY_ROOT = "lost+found"
#: The capabilities for giving a disk away and dropping root.
CAPABILITIES = ("CHOWN", "SETUID", "SETGID")


class PlainUser(NamedTuple):
    """The user that everything runs as."""

    uid: int
    gid: int


def _wanted(environment: Mapping[str, str]) -> PlainUser | None:
    """Return the user to become, or None where we are not root or nobody asked for it."""
    text = environment.get(USER_NAME, "").strip()
    if os.geteuid() != 0 or not text:
        return None
    found = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", text)
    if found is None:
        raise BootError(f"{USER_NAME} is {text!r}: set it to UID:GID of a user that is not root.")
    return PlainUser(int(found[1]), int(found[2]))


def become_plain_user(environment: Mapping[str, str]) -> None:
    """Give DATA_DIR and the outputs to the plain user and become it, if that is asked for.

    Raises BootError where root may not do that here.
    """
    user = _wanted(environment)
    if user is None:
        return
    data_dir = Path(environment.get("DATA_DIR", "").strip() or Settings().data_dir).absolute()
    try:
        hand_over(data_dir, user)
        for descriptor in (sys.stdout.fileno(), sys.stderr.fileno()):
            # supervisord opens an output again, which belongs to its creator.
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor):
                os.fchown(descriptor, *user)
    except OSError as error:
        raise BootError(
            f"{error.filename or data_dir} cannot be given to user {user.uid} ({error.strerror}): mount a writable disk "
            f"on {data_dir}, and start the container with the capabilities {', '.join(CAPABILITIES)}, or give it away "
            f"first (`chown -R {user.uid}:{user.gid}`) and start it as that user."
        ) from error
    drop_root(environment)


def drop_root(environment: Mapping[str, str]) -> None:
    """Become the plain user if we are root and it is named; raises BootError if refused."""
    user = _wanted(environment)
    if user is None:
        return
    try:
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        raise BootError(
            f"Root cannot become user {user.uid} here ({error.strerror}): start the container as {user.uid}:{user.gid}, "
            f"or with the capabilities {', '.join(CAPABILITIES)}."
        ) from error
    if ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise BootError("The kernel cannot forbid new privileges: Linux 3.5 or newer is needed.")


def hand_over(folder: Path, user: PlainUser) -> None:
    """Give a folder and all in it to the user, including files that root restored.

    Links are not followed, and what is mounted inside is left alone. A folder that root may not look into (it lacks a
    capability) is the user's own, or boot will say so.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    device, given = folder.stat().st_dev, [folder]
    for place, folders, files in os.walk(folder):  # which passes over closed folders
        here = Path(place)
        inner = [here / name for name in folders if here / name != folder / KEPT_BY_ROOT]
        inner = [path for path in inner if path.lstat().st_dev == device]
        folders[:] = [path.name for path in inner]
        given += [*inner, *(here / name for name in files)]
    # From the innermost on: a folder that is given away may be closed to us.
    for path in reversed(given):
        facts = path.lstat()
        if (facts.st_uid, facts.st_gid) != user:
            os.chown(path, *user, follow_symlinks=False)
