"""The virtual environment: made by uv from a lock, stamped when complete, rebuilt if not."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from ops.setup_machine import debian
from ops.setup_machine.commands import SetupError, output_of, run, say
from ops.setup_machine.uv import find_uv, index_settings

#: The lock file of each kind of environment. Each holds all that those before it do, at the same versions.
LOCKS = {"tools": "requirements-tools.lock", "dev": "requirements-dev.lock"}
#: The Python versions that the locked packages are built for, as uv and as a Python understand it.
PYTHONS = ">=3.12,<3.15"
PROBE = "import sys, ssl, ctypes, sqlite3; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 15))"


class Environment:
    """`.venv` in the repository's folder `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.python = self.folder / "bin" / "python"
        #: Written last, removed first: where it is missing the environment was left half made.
        self.stamp = self.folder / "shapbox-stamp.json"

    def ensure(self, kind: str) -> bool:
        """Make the environment hold what `kind` (one of LOCKS) needs; False if it does already.

        Raises SetupError.
        """
        made_for = self._made_for()
        if made_for == "dev":
            kind = "dev"  # never take tools away again
        if made_for is not None and self._stamp_of(kind) == self._read_stamp():
            return False
        uv = find_uv()
        if made_for is None:
            self._make(uv)
        self.stamp.unlink(missing_ok=True)
        sync = [
            uv,
            "pip",
            "sync",
            "--python",
            str(self.python),
            "--require-hashes",
            str(self.root / LOCKS[kind]),
        ]
        run(f"Installing the packages of {LOCKS[kind]}", *sync, extra=index_settings())
        self._join_client()
        self.stamp.write_text(json.dumps(self._stamp_of(kind)), encoding="utf-8")
        return True

    def _make(self, uv: str) -> None:
        """Make it empty, with a Python of this machine, of uv or of Debian.

        uv finds one or downloads it.
        """
        command = [uv, "venv", "--clear", "--no-project", str(self.folder), "--python"]
        python = find_python()
        try:
            run(f"Making .venv with Python {python}", *command, python)
        except SetupError as error:
            if not debian.can_install():
                raise
            say(f"{error}\nTrying Debian's Python instead.")
            debian.install("python3")
            run("Making .venv with Debian's Python", *command, "/usr/bin/python3", "--no-python-downloads")

    def _join_client(self) -> None:
        """Let programs of the environment import the client from this folder."""
        (packages,) = self.folder.glob("lib/python3*/site-packages")
        (packages / "shapbox-client.pth").write_text(f"{self.root / 'client'}\n", encoding="utf-8")

    def _made_for(self) -> str | None:
        """Return the kind that the environment was made for; None unless it is complete and runs."""
        kind = self._read_stamp().get("kind")
        runs = kind in LOCKS and output_of(str(self.python), "-I", "-c", "") is not None
        return kind if runs else None

    def _stamp_of(self, kind: str) -> dict[str, str]:
        lock = (self.root / LOCKS[kind]).read_bytes()
        return {"kind": kind, "lock": hashlib.sha256(lock).hexdigest()}

    def _read_stamp(self) -> dict[str, str]:
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return dict(stamp) if isinstance(stamp, dict) else {}


def find_python() -> str:
    """Return this Python or one of pyenv's, or else the versions for uv to look for.

    pyenv's need not be on PATH.
    """
    this = getattr(sys, "_base_executable", None) or sys.executable
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    pyenv = [sorted(versions.glob(f"3.{minor}.*/bin/python"), reverse=True) for minor in (13, 12, 14)]
    for path in (this, *(str(one) for some in pyenv for one in some)):
        if output_of(path, "-I", "-c", PROBE) is not None:
            return path
    return PYTHONS
