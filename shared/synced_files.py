"""Files that are on the disk when a call returns, so that no power cut loses them."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path


def sync(path: Path) -> None:
    """Return when a file's bytes, or the names in a folder, are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(root: Path, name: str, parts: Sequence[bytes | memoryview]) -> None:
    """Write the file `name` below `root`, whole or not at all, and sync it with its folders.

    Its bytes are on the disk before it takes the place of an earlier file of this name, which a power cut could otherwise
    leave replaced by nothing. Raises OSError.
    """
    path = root / name
    draft, descriptor = _new_draft(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    for folder in Path(name).parents:
        with contextlib.suppress(FileNotFoundError):  # its job was deleted meanwhile
            sync(root / folder)


def _new_draft(path: Path) -> tuple[Path, int]:
    """Open a new file beside a path, named as obstore names its unfinished files."""
    for number in itertools.count(1):
        draft = path.with_name(f"{path.name}#{number}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(
            FileExistsError, FileNotFoundError
        ):  # the folder may have been deleted just now
            return draft, os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    raise AssertionError
