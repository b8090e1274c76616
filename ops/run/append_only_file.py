"""Checks Redis's append-only file before the start, and removes a damaged end.

Redis ends at every start if such a file has zeros at its end, damage in the middle, or an empty manifest, and a platform
would restart the container forever. The layout of the folder and of its manifest is Redis's (since version 7).
"""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from ops.run.redis_program import redis_program
from shared.errors import BootError
from shared.redis.aof_sync import FOLDER

#: The list of the file's parts, in their folder.
MANIFEST = "appendonly.aof.manifest"
#: A part's name: its number, and whether others build on it (base) or it holds the commands since (incr).
_PART = re.compile(r"appendonly\.aof\.(\d+)\.(base|incr)\.(?:rdb|aof)")
#: Of the checker's report on one part: its name, its size, and where it is sound up to.
_REPORT = re.compile(r"AOF analyzed: filename=(.+), size=(\d+), ok_up_to=(\d+),")
#: The beginning of a command after another one.
_COMMAND = re.compile(rb"\r\n\*\d+\r\n\$\d+\r\n")
#: The head of a command, and of one of its words.
_WORDS, _BYTES = re.compile(rb"\*(\d{1,19})\r\n"), re.compile(rb"\$(\d{1,19})\r\n")

#: Bytes that reach a disk together, and the most that Redis may have written since the last sync, a second ago.
PAGE, MOST_UNSYNCED = 4096, 2**20

_log = logging.getLogger(__name__)


def mend_append_only_file(redis_dir: Path) -> None:
    """Make the file one that Redis can read, if only its tail or its manifest is damaged.

    Raises BootError for other damage, with the commands that decide what is given up. A copy is kept of what is changed.
    """
    folder = redis_dir / FOLDER
    manifest = folder / MANIFEST
    if not manifest.exists():
        return
    if not manifest.read_bytes().strip(b"\0\n "):
        _write_manifest(folder)
    checked = _check(manifest)
    if checked.returncode == 0:
        return
    reports = _REPORT.findall(checked.stdout)
    name, size, sound = reports[-1] if reports else ("", 0, 0)
    part = folder / name
    data = part.read_bytes() if name else b""
    if not name or not _is_at_end(data, int(sound)):
        raise BootError(
            _refusal(manifest, f"{part.name} is damaged at byte {sound} of {size}", checked.stdout)
        )
    copy = _copy(folder)
    fixed = _check(manifest, "--fix")
    if fixed.returncode != 0:
        shutil.rmtree(copy)  # a platform starts us again and again, and each start would leave one more
        raise BootError(_refusal(manifest, f"{part.name} cannot be mended", fixed.stdout))
    _log.error(
        "Redis's file was damaged at its end, as by a power cut: the end was removed",
        extra={"file": str(part), "bytes_removed": int(size) - int(sound), "copy": str(copy)},
    )


def _check(manifest: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run Redis's checker, which is the server under another name."""
    server = redis_program()
    words = [Path(server).name.replace("server", "check-aof"), *options, str(manifest)]
    # It quotes the damage, which is no UTF-8.
    return subprocess.run(
        words, executable=server, input="y\n", capture_output=True, text=True, errors="replace", check=False
    )


def _is_at_end(data: bytes, sound: int) -> bool:
    """Return whether nothing that was ever synced follows the damage.

    A power cut may keep a later page of what was not synced and lose an earlier one, which is then a hole of zeros: had
    anything behind it been synced, it would be there as well.
    """
    fault = _first_fault(data, sound)
    after = _COMMAND.search(data, fault)
    if after is None:
        return True
    edges = range(fault // PAGE * PAGE + PAGE, after.start() + 1, PAGE)
    return len(data) - sound <= MOST_UNSYNCED and any(data[edge - 1] == 0 for edge in edges)


def _first_fault(data: bytes, sound: int) -> int:
    """Return where the first broken command from `sound` on begins.

    Sound ones may precede it, in a transaction that is not complete.
    """
    place = sound
    while head := _WORDS.match(data, place):
        end = head.end()
        for _ in range(int(head[1])):
            word = _BYTES.match(data, end)
            end = word.end() + int(word[1]) + 2 if word else len(data) + 1
            if data[end - 2 : end] != b"\r\n":
                return place
        place = end
    return place


def _write_manifest(folder: Path) -> None:
    """Write the manifest from the names of the parts. Raises BootError if they are ambiguous."""
    parts = sorted(
        (match[2], int(match[1]), match[0])
        for path in folder.iterdir()
        if (match := _PART.fullmatch(path.name))
    )
    bases = [part for part in parts if part[0] == "base"]
    numbers = [number for kind, number, _ in parts if kind == "incr"]
    if len(bases) != 1 or not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise BootError(
            _refusal(
                folder / MANIFEST, f"{MANIFEST} is empty", "The names of the parts do not tell their order."
            )
        )
    lines = [f"file {name} seq {number} type {kind[0]}\n" for kind, number, name in parts]
    copy, draft = _copy(folder), folder / "manifest.new"
    draft.write_text("".join(lines), encoding="ascii")
    draft.replace(folder / MANIFEST)  # a start that is killed before leaves no half of it
    _log.error(
        "The list of Redis's files was empty, as by a power cut: it was written anew",
        extra={"copy": str(copy)},
    )


def _copy(folder: Path) -> Path:
    """Keep a copy of the folder beside it. Raises BootError if there is no room."""
    copy = folder.with_name(f"{folder.name}-damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    try:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
    except (OSError, shutil.Error) as fault:
        raise BootError(
            f"Redis's file is damaged and cannot be copied to {copy} before it is mended: {fault}"
        ) from fault
    return copy


def _refusal(manifest: Path, what: str, said: str) -> str:
    folder = manifest.parent
    place, aside, damaged = (shlex.quote(f"{folder}{end}") for end in ("", "-copy", "-damaged"))
    return (
        f"Redis cannot read its file in {folder}: {what}. Nothing was changed. Choose one:\n"
        "  - restore a backup of DATA_DIR/redis (docs/operate.md);\n"
        f"  - keep what comes before the damage and lose the jobs after it: cp -a {place} {aside} && "
        f"redis-check-aof --fix {shlex.quote(str(manifest))}\n"
        f"  - start without any job: mv {place} {damaged}\n"
        f"redis-check-aof says: {said.strip().splitlines()[-1] if said.strip() else 'nothing'}"
    )
