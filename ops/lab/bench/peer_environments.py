"""The environments of other libraries and services, each from its own lock.

They are no part of Shapbox's: what they bring must neither meet our packages nor be audited with them.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from ops.setup_machine.commands import clean_environment, output_of, run_shown, say
from ops.setup_machine.failure import SetupError
from ops.setup_machine.interpreter import candidates
from shared.build import ROOT

#: The peers' programs and locks, and where their environments are made.
PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = ROOT / ".cache" / "bench"
#: The Python that each needs: MLServer refuses 3.13.
PYTHONS = {"engines": ("3.13", "3.12", "3.14"), "fastapi": ("3.13", "3.12", "3.14"), "mlserver": ("3.12",)}


def peer_python(name: str) -> Path | None:
    """Return the Python of an environment, made if missing; None if it cannot be made."""
    folder, lock = ENVIRONMENTS / name, PEERS / f"{name}.lock"
    python, stamp = folder / "bin" / "python", folder / "shapbox-stamp"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted and output_of([str(python), "-V"]):
        return python
    base = next(_interpreters(PYTHONS[name]), None)
    if base is None:
        say(f"bench: no Python {' or '.join(PYTHONS[name])} is here for {name}: it is left out")
        return None
    try:
        _make(folder, base, lock)
    except SetupError as error:
        say(f"bench: {name} is left out. {error}")
        return None
    stamp.write_text(wanted, encoding="ascii")
    return python


def _interpreters(versions: tuple[str, ...]) -> Iterator[str]:
    program = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    found = {path: (output_of([path, "-I", "-c", program]) or "").strip() for path in candidates()}
    for version in versions:
        yield from (path for path, its in found.items() if its == version)


def _make(folder: Path, base: str, lock: Path) -> None:
    run_shown([base, "-m", "venv", "--clear", str(folder)], f"Making {folder.name}'s environment")
    pip = [str(folder / "bin" / "python"), "-I", "-m", "pip", "install", "--require-hashes", "--no-deps"]
    pip += ["--no-input", "--progress-bar", "off", "--only-binary", ":all:", "-r", str(lock)]
    quiet = clean_environment(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_ROOT_USER_ACTION="ignore")
    run_shown(pip, f"Installing {folder.name}'s locked packages", quiet)


def main() -> int:
    """`python -m ops.lab.bench.peer_environments`: make them all."""
    made = [peer_python(name) for name in PYTHONS]
    return 0 if all(made) else 1


if __name__ == "__main__":
    sys.exit(main())
