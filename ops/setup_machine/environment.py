"""The virtual environment: made by uv from a lock, stamped when complete, rebuilt if not."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from ops.setup_machine.commands import output_of, run
from ops.setup_machine.uv import find_uv, index_settings

#: The lock file of each kind of environment. Each holds all that those before it do, at the same versions.
LOCKS = {"tools": "requirements-tools.lock", "dev": "requirements-dev.lock"}
#: The Python versions that the locked packages are built for, as uv and as a Python understand it.
PYTHONS = ">=3.12,<3.15"
PROBE = "import sys, ssl, ctypes, sqlite3; sys.exit(not (3, 12) <= sys.version_info[:2] < (3, 15))"


def ensure_environment(root: Path, kind: str) -> bool:
    """Have `.venv` in `root` hold what `kind` (one of LOCKS) needs; False if it does already.

    Tools are never taken away again. Raises SetupError.
    """
    folder = root / ".venv"
    python, stamp = folder / "bin" / "python", folder / "shapbox-stamp.json"
    # The stamp is written last and removed first: where it is missing the environment was left half made.
    runs = output_of(str(python), "-I", "-c", "") is not None
    made = stamp.read_text(encoding="utf-8") if runs and stamp.is_file() else ""
    locks = {one: hashlib.sha256((root / lock).read_bytes()).hexdigest() for one, lock in LOCKS.items()}
    wanted = {one: json.dumps({"kind": one, "lock": digest}) for one, digest in locks.items()}
    kinds = [one for one in LOCKS if f'"kind": "{one}"' in made]
    kind = "dev" if "dev" in kinds else kind
    if made in {wanted[kind], wanted["dev"]}:
        return False
    uv = find_uv()
    if not kinds:  # with a Python of this machine, or one that uv finds or downloads
        run("Making .venv", uv, "venv", "--clear", "--no-project", str(folder), "--python", find_python())
    stamp.unlink(missing_ok=True)
    sync = [uv, "pip", "sync", "--python", str(python), "--require-hashes", str(root / LOCKS[kind])]
    run(f"Installing the packages of {LOCKS[kind]}", *sync, extra=index_settings())
    (packages,) = folder.glob("lib/python3*/site-packages")
    # The client is imported from this folder.
    (packages / "shapbox-client.pth").write_text(f"{root / 'client'}\n", encoding="utf-8")
    stamp.write_text(wanted[kind], encoding="utf-8")
    return True


def find_python() -> str:
    """Return this Python or one of pyenv's, or else the versions for uv to look for."""
    this = getattr(sys, "_base_executable", None) or sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for path in (this, *sorted(map(str, pyenv.glob("3.1[2-4].*/bin/python")), reverse=True)):
        if output_of(path, "-I", "-c", PROBE) is not None:
            return path
    return PYTHONS
