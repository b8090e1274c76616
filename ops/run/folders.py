"""The appliance's folders: made at boot, for nobody else to look into."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
import tempfile
from pathlib import Path

from shared.errors import BootError
from shared.settings import Settings

#: Nobody but the owner enters.
PRIVATE = 0o700


def make_folders(settings: Settings) -> None:
    """Make DATA_DIR and its folders, and check that each can be written; raises BootError."""
    data_dir = settings.data_dir.absolute()
    for folder in (data_dir, *_private_folders(settings)):
        try:
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            if folder != data_dir:
                _make_private(folder)
            _write_something(folder)
        except OSError as error:
            raise BootError(
                f"DATA_DIR cannot be used: {folder} cannot be made or written ({error.strerror or error}). "
                f"{_remedy(error, folder, data_dir)}, or set DATA_DIR to another folder."
            ) from error


def empty_folder(folder: Path) -> None:
    """Remove the plain files in a folder: unfinished uploads of an earlier start."""
    for path in folder.iterdir():
        if path.is_file() or path.is_symlink():
            path.unlink(missing_ok=True)


def _private_folders(settings: Settings) -> list[Path]:
    folders = [settings.run_dir, settings.keys_dir, settings.tmp_dir, settings.compiled_dir]
    if settings.storage_url is None:
        folders.append(settings.objects_dir)
    if settings.embedded_redis:
        folders.append(settings.redis_dir)
    return folders


def _remedy(error: OSError, folder: Path, data_dir: Path) -> str:
    """Say what makes a folder usable, as the beginning of a sentence."""
    if not folder.is_relative_to(data_dir):
        return f"Sockets go there, since DATA_DIR's path is long: make {folder.parent} writable"
    if error.errno == errno.EROFS:
        return f"Its disk is read-only: mount a volume or a writable folder on {data_dir}"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "Its disk is full: make room there"
    if error.errno not in {errno.EACCES, errno.EPERM}:
        return "Put what is in its way somewhere else"
    user, place = f"{os.geteuid()}:{os.getegid()}", shlex.quote(str(data_dir))
    return (
        f"{_whose(folder)}, and Shapbox runs as user {os.geteuid()}: as root, in a container with the same volume "
        f"or on the host, run `mkdir -p {place} && chown -R {user} {place}`"
    )


def _whose(folder: Path) -> str:
    """Name the owner of a folder, or of the nearest one above it that can be seen."""
    for path in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return f"{path} belongs to user {path.stat().st_uid}"
    return f"{folder} is another user's"


def _make_private(folder: Path) -> None:
    """Close a folder to others; the run folder may lie where others can put one first."""
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise NotADirectoryError("it is no folder")
    if facts.st_uid not in {os.geteuid(), 0}:
        raise PermissionError("it belongs to another user")
    if stat.S_IMODE(facts.st_mode) != PRIVATE and facts.st_uid == os.geteuid():
        folder.chmod(PRIVATE)


def _write_something(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")
        file.flush()
