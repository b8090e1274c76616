"""The virtual environment: made from the lock, stamped when complete, rebuilt if not."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from ops.setup_machine.commands import clean_environment, run_shown, succeeds
from ops.setup_machine.interpreter import find_interpreter

if TYPE_CHECKING:
    from pathlib import Path

#: The lock file of each kind of environment. Each holds all that those before it do, at the same versions.
LOCKS = {
    "tools": "requirements-tools.lock",
    "dev": "requirements-dev.lock",
}


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
        if self.serves(kind):
            return False
        kind = max(kind, self._made_for() or kind, key=list(LOCKS).index)  # never take tools away again
        if not self._can_be_updated():
            interpreter = find_interpreter(self.root)
            run_shown(
                [str(interpreter), "-m", "venv", "--clear", str(self.folder)],
                f"Making .venv with {interpreter}",
            )
        self.stamp.unlink(missing_ok=True)
        self._install(kind)
        self.write_stamp(kind)
        return True

    def serves(self, kind: str) -> bool:
        """Tell whether the environment was made from today's lock of this kind, and runs."""
        kinds, made_for = list(LOCKS), self._made_for()
        holds_it = made_for is not None and kinds.index(made_for) >= kinds.index(kind)
        same_lock = self._read_stamp().get(kind) == self._lock_hash(kind)
        return holds_it and same_lock and succeeds([str(self.python), "-I", "-c", ""])

    def write_stamp(self, kind: str) -> None:
        """Note which locks the environment was made from."""
        stamp = {"kind": kind, **{name: self._lock_hash(name) for name in LOCKS}}
        self.stamp.write_text(json.dumps(stamp), encoding="utf-8")

    def _made_for(self) -> str | None:
        """Return the kind that the stamp names, or None."""
        kind = self._read_stamp().get("kind")
        return kind if kind in LOCKS else None

    def _can_be_updated(self) -> bool:
        """Tell whether pip may change the environment in place: complete, and both tools run."""
        return bool(self._read_stamp()) and succeeds([str(self.python), "-I", "-m", "pip", "--version"])

    def _read_stamp(self) -> dict[str, str]:
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return dict(stamp) if isinstance(stamp, dict) else {}

    def _lock_hash(self, kind: str) -> str:
        return hashlib.sha256((self.root / LOCKS[kind]).read_bytes()).hexdigest()

    def _install(self, kind: str) -> None:
        lock = self.root / LOCKS[kind]
        names = re.findall(r"^([A-Za-z0-9._-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE)
        progress = _PipProgress(len(names))
        command = [str(self.python), "-I", "-m", "pip", "install", "--require-hashes", "--no-deps"]
        command += ["--no-input", "--progress-bar", "off", "-r", str(lock)]
        environment = clean_environment(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
        run_shown(command, f"Installing {len(names)} locked packages", environment, progress.describe)


class _PipProgress:
    """Says how far pip has come, from its own lines."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.seen = 0

    def describe(self, line: str) -> str | None:
        """Return what to show after one of pip's lines, if anything."""
        match = re.match(r"\s*(?:Collecting|Requirement already satisfied:) ([^=\s(]+)", line)
        if match:
            self.seen += 1
            return f"{self.seen} of {self.total}, {match.group(1)}"
        return "unpacking" if line.startswith("Installing collected packages") else None
