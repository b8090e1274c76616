"""The content of a disk after a power cut: all that was synced, and any part of the rest.

Unsynced data may be missing page by page: a page is there as it was before or after each write, or it is a hole. Unsynced
names may be missing, too. A journal keeps them in order, and writes all of them whenever a program syncs anything (ext4, XFS);
without one only a sync of the folder promises them (POSIX).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.search.power.write_log import Kind, Record

#: Bytes that reach a disk together.
PAGE = 4096


class Kept(StrEnum):
    """The part that remains of all that was not synced."""

    NOTHING = "nothing"
    ALL = "all"
    SOME = "some"


@dataclass(slots=True)
class File:
    """A file's writes and truncations in order; those below `synced` are on the disk."""

    changes: list[Record] = field(default_factory=list)
    synced: int = 0


@dataclass(slots=True)
class Name:
    """A change of names: creations, links, renames and removals, in the folders `folders`."""

    record: Record
    folders: frozenset[int]
    target: File | int | None = None
    synced: bool = False


class Disk:
    """The disk of a log at a cut: `Disk(records[:cut], root)`."""

    def __init__(self, records: Sequence[Record], root: int, *, journal: bool) -> None:
        self._root = root
        self._journal = journal
        self._files: dict[int, File] = {}
        self._names: list[Name] = []
        #: The names that programs see, by folder.
        self._seen: dict[int, dict[str, File | int]] = {root: {}}
        #: By thread: how far the files and names had come when its sync began.
        self._syncs: dict[int, tuple[int, int]] = {}
        for record in records:
            self._take(record)

    def _take(self, record: Record) -> None:
        match record.kind:
            case Kind.CREATE:  # an inode may be that of a deleted file
                self._files[record.second] = File()
                self._name(record, self._files[record.second])
            case Kind.LINK:
                self._name(record, self._files.setdefault(record.second, File()))
            case Kind.MKDIR:
                self._name(record, record.second)
            case Kind.UNLINK:
                self._name(record, None)
            case Kind.RENAME:  # on a disk it can remain without the creation of what it moves
                self._name(record, self._seen.get(record.first, {}).get(record.name), record.second)
            case Kind.WRITE | Kind.TRUNCATE:
                self._files.setdefault(record.first, File()).changes.append(record)
            case Kind.SYNC:
                changes = len(self._files[record.first].changes) if record.first in self._files else 0
                self._syncs[record.thread] = (changes, len(self._names))
            case Kind.SYNCED:
                self._sync(record.first, *self._syncs.pop(record.thread))
            case Kind.MARK:
                pass

    def _name(self, record: Record, target: File | int | None, *folders: int) -> None:
        name = Name(record, frozenset({record.first, *folders}), target)
        self._names.append(name)
        _apply(self._seen, name)

    def _sync(self, inode: int, changes: int, names: int) -> None:
        if inode in self._files:
            self._files[inode].synced = max(changes, self._files[inode].synced)
        for name in self._names[:names]:
            name.synced |= self._journal or inode in name.folders

    def write(self, folder: Path, kept: Kept, chance: random.Random) -> None:
        """Write what remains into a folder that does not exist."""
        tree: dict[int, dict[str, File | int]] = {self._root: {}}
        for name in self._kept_names(kept, chance):
            _apply(tree, name)
        _write_folder(tree, self._root, folder, kept, chance)

    def _kept_names(self, kept: Kept, chance: random.Random) -> list[Name]:
        if kept is Kept.ALL:
            return self._names
        synced = [number for number, name in enumerate(self._names) if name.synced]
        if not self._journal:
            return [
                name for name in self._names if name.synced or (kept is Kept.SOME and chance.random() < 0.5)
            ]
        least = synced[-1] + 1 if synced else 0
        return self._names[: least if kept is Kept.NOTHING else chance.randint(least, len(self._names))]


def _apply(tree: dict[int, dict[str, File | int]], name: Name) -> None:
    """Change names. Those in a folder whose own creation was lost are not seen."""
    record, folder = name.record, tree.setdefault(name.record.first, {})
    if record.kind is Kind.MKDIR and isinstance(name.target, int):
        tree[name.target] = {}  # an inode may be that of a deleted folder
    if record.kind in {Kind.UNLINK, Kind.RENAME}:
        folder.pop(record.name, None)
    if record.kind is Kind.RENAME:
        folder = tree.setdefault(record.second, {})
    if name.target is not None:
        folder[record.other or record.name] = name.target


def _write_folder(
    tree: dict[int, dict[str, File | int]], inode: int, folder: Path, kept: Kept, chance: random.Random
) -> None:
    folder.mkdir(mode=0o700)
    for name, target in tree.get(inode, {}).items():
        if isinstance(target, int):
            _write_folder(tree, target, folder / name, kept, chance)
        else:
            (folder / name).write_bytes(_content(target, kept, chance))
            (folder / name).chmod(0o600)


def _content(file: File, kept: Kept, chance: random.Random) -> bytes:
    content = bytearray()
    for change in file.changes if kept is Kept.ALL else file.changes[: file.synced]:
        _change(content, change)
    if kept is not Kept.SOME:
        return bytes(content)
    pending = file.changes[file.synced :]
    reached: dict[
        int, int
    ] = {}  # by page (-1 for the file's size): how many of these changes are on the disk
    for number, change in enumerate(pending):
        if change.kind is Kind.TRUNCATE:
            if number < reached.setdefault(-1, chance.randint(0, len(pending))):
                _change(content, change)
            continue
        for begin, data in _pages(change):
            if number < reached.setdefault(begin // PAGE, chance.randint(0, len(pending))):
                _put(content, begin, data)
    return bytes(content)


def _change(content: bytearray, change: Record) -> None:
    if change.kind is Kind.TRUNCATE:
        del content[change.second :]
        content.extend(bytes(change.second - len(content)))
    else:
        _put(content, change.second, change.data)


def _put(content: bytearray, begin: int, data: memoryview) -> None:
    content.extend(bytes(max(0, begin - len(content))))
    content[begin : begin + len(data)] = data


def _pages(change: Record) -> list[tuple[int, memoryview]]:
    """Return the parts of a write that reach the disk together, with their places."""
    begin, end = change.second, change.second + len(change.data)
    edges = [begin, *range(begin // PAGE * PAGE + PAGE, end, PAGE), end]
    return [(one, change.data[one - begin : other - begin]) for one, other in itertools.pairwise(edges)]
