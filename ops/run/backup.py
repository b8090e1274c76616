"""`python -m ops.run.backup > FILE.tar`: copies the data of a running appliance.

Redis's files come first, so that the copy lacks no object that a job in it refers to: objects are stored before their job
is. Redis replaces its files now and then, and a copy of the folder could hold some old and some new ones. So those of one
manifest are kept by links first.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path

from ops.run.append_only_file import MANIFEST
from shared.redis.aof_sync import FOLDER
from shared.settings import Settings

#: Times that Redis may replace its files while they are linked.
ATTEMPTS = 100


def main() -> int:
    """Write the copy to standard output; return the exit code."""
    settings = Settings.from_environment(os.environ)
    if sys.stdout.isatty():
        print("backup: redirect the output into a file", file=sys.stderr)
        return 2
    there = settings.redis_dir / FOLDER / MANIFEST if settings.embedded_redis else settings.data_dir
    if not there.exists():
        print(
            f"backup: {settings.data_dir} is not the data of an appliance. Set DATA_DIR to the appliance's.",
            file=sys.stderr,
        )
        return 2
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as copy:
        if settings.embedded_redis:
            _copy_redis(copy, settings)
        folder = settings.data_dir.absolute()
        for name in ("host-name", settings.keys_dir.name, settings.objects_dir.name):
            _copy_files(copy, folder, folder / name)
    return 0


def _copy_redis(copy: tarfile.TarFile, settings: Settings) -> None:
    folder = settings.redis_dir / FOLDER
    with tempfile.TemporaryDirectory(dir=settings.tmp_dir, prefix="backup-") as links:
        manifest = _link_parts(folder, Path(links))
        place = f"{settings.redis_dir.name}/{FOLDER}"
        for part in sorted(Path(links).iterdir()):
            copy.add(part, f"{place}/{part.name}")
        about = tarfile.TarInfo(f"{place}/{MANIFEST}")
        about.size = len(manifest)
        copy.addfile(about, io.BytesIO(manifest))


def _link_parts(folder: Path, links: Path) -> bytes:
    """Link the parts that the manifest names into a folder; return the manifest.

    Raises FileNotFoundError if Redis replaces them each time.
    """
    attempt = 0
    while True:
        attempt += 1
        manifest = (folder / MANIFEST).read_bytes()
        try:
            for line in manifest.decode("ascii").splitlines():
                name, kind = line.split()[1], line.split()[5]
                if kind != "h" and not (links / name).exists():  # h: history, which Redis is about to delete
                    (links / name).hardlink_to(folder / name)
        except FileNotFoundError:  # Redis has replaced them
            if attempt == ATTEMPTS:
                raise
            for link in links.iterdir():
                link.unlink()
        else:
            return manifest


def _copy_files(copy: tarfile.TarFile, folder: Path, path: Path) -> None:
    """Copy a file, or all files below a folder that are there when their turn comes."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        try:
            with file.open("rb") as content:
                about = copy.gettarinfo(arcname=str(file.relative_to(folder)), fileobj=content)
                copy.addfile(about, content)
        except (FileNotFoundError, IsADirectoryError):  # a job was deleted meanwhile
            continue


if __name__ == "__main__":
    sys.exit(main())
