"""DATA_DIR: private folders, generated keys, and the appliance's own name."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import secrets
import shlex
import socket
import stat
import tempfile
from pathlib import Path

from shared.errors import BootError
from shared.setting_values import SHORTEST_KEY
from shared.settings import KEY_NAMES, Role, Settings
from shared.synced_files import sync

_log = logging.getLogger(__name__)

#: Random bytes of a key, and of the appliance's name: four billion names for each hostname.
KEY_BYTES, NAME_BYTES = 32, 4
#: A name becomes part of keys in Redis and of its clients' names, which know no blanks.
NAME_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,80}")


def make_folders(settings: Settings) -> None:
    """Make DATA_DIR and its folders, and check that each can be written; raises BootError."""
    data_dir = settings.data_dir.absolute()
    private = [settings.run_dir, settings.keys_dir, settings.tmp_dir, settings.compiled_dir]
    private += [settings.objects_dir] if settings.storage_url is None else []
    private += [settings.redis_dir] if settings.embedded_redis else []
    for folder in (data_dir, *private):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder != data_dir:
                _make_private(folder)
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
                file.flush()
            with contextlib.suppress(OSError):  # not every parent can be opened, or synced by its file system
                sync(folder.parent)
        except OSError as error:
            raise BootError(
                f"DATA_DIR cannot be used: {folder} cannot be made or written ({error.strerror or error}). "
                f"{_remedy(error, folder, data_dir)}, or set DATA_DIR to another folder."
            ) from error
    if settings.embedded_redis:
        _link_redis(settings)


def _link_redis(settings: Settings) -> None:
    """Link Redis's folder from the run folder, whose path programs read as it is."""
    link = settings.run_dir / settings.redis_dir.name
    if not (link.is_symlink() and link.readlink() == settings.redis_dir):
        link.unlink(missing_ok=True)
        link.symlink_to(settings.redis_dir)


def _make_private(folder: Path) -> None:
    """Close a folder to others; the run folder may lie where others can put one first."""
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise NotADirectoryError("it is no folder")
    if facts.st_uid not in {os.geteuid(), 0}:
        raise PermissionError("it belongs to another user")
    if facts.st_uid == os.geteuid():
        folder.chmod(0o700)


def _remedy(error: OSError, folder: Path, data_dir: Path) -> str:
    """Say what makes a folder usable, as the beginning of a sentence."""
    if not folder.is_relative_to(data_dir):
        return f"Sockets go there, since DATA_DIR's path is long or has special characters: make {folder.parent} writable"
    if error.errno not in {errno.EACCES, errno.EPERM}:
        return f"Mount a writable disk with free space on {data_dir}"
    user, place = f"{os.geteuid()}:{os.getegid()}", shlex.quote(str(data_dir))
    return (
        f"Shapbox runs as user {os.geteuid()}, who may not do that: as root, in a container with the same volume "
        f"or on the host, run `mkdir -p {place} && chown -R {user} {place}`"
    )


def empty_folder(folder: Path) -> None:
    """Remove the plain files in a folder: unfinished uploads of an earlier start."""
    for path in folder.iterdir():
        if path.is_file() or path.is_symlink():
            path.unlink(missing_ok=True)


def ensure_keys(settings: Settings) -> dict[str, Path]:
    """Make each unset key's file if it is missing (mode 0600); return the files by setting.

    Where only workers run there is nothing to open.
    """
    if settings.role is Role.WORKER:
        return {}
    files = {name: settings.keys_dir / name for name in KEY_NAMES if getattr(settings, name.lower()) is None}
    for path in files.values():
        _ensure_line(path, secrets.token_urlsafe(KEY_BYTES), re.compile(rf"[!-~]{{{SHORTEST_KEY},}}"))
    return files


def ensure_host_name(settings: Settings) -> str:
    """Return the name of this DATA_DIR: the hostname and a random part.

    Others may share the hostname. It is kept: by it an appliance that was killed whole knows which batches are its own
    to give back at once.
    """
    hostname = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:40]
    return _ensure_line(settings.host_name_file, f"{hostname}-{secrets.token_hex(NAME_BYTES)}", NAME_PATTERN)


def _ensure_line(path: Path, line: str, pattern: re.Pattern[str]) -> str:
    """Return the line in a private file, or write this one where none fits. Raises BootError."""
    draft = path.with_name(f".{path.name}.new")
    try:
        kept = path.read_text(encoding="ascii", errors="replace").strip() if path.is_file() else ""
        if pattern.fullmatch(kept):
            path.chmod(0o600)
            return kept
        if kept:  # the settings would refuse it, at this start and each one after it
            aside = path.replace(path.with_name(f"{path.name}.damaged"))
            _log.error("%s was damaged, so there is a new one", path.name, extra={"aside": str(aside)})
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{line}\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)  # a start that is killed before leaves no half of it
        sync(path.parent)  # a client that was given the key keeps it after a power cut
    except OSError as error:
        raise BootError(
            f"{path} cannot be read or kept ({error.strerror or error}): remove what is there, and boot makes a new one, "
            "or make room on its disk."
        ) from error
    return line
