"""Other libraries that explain the same model, and the environments of all peers.

Each library runs in a process of its own. The environments are separate from Shapbox's: their packages must neither
meet our packages nor be audited with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from ops.lab.bench.models import Matrix
from ops.lab.bench.report import Effort, Say
from ops.lab.bench.timing import Way, WayError
from shared.build import ROOT

#: The peers' programs and locks, and where their environments are made.
PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = ROOT / ".cache" / "bench"
#: The Pythons that each can have: MLServer refuses 3.13.
PYTHONS = {"engines": ">=3.12,<3.15", "fastapi": ">=3.12,<3.15", "mlserver": "3.12"}
#: The other libraries.
NAMES = ("shap", "shapiq", "woodelf")
#: Seconds that importing a library and loading a model may take.
LOAD_SECONDS = 60.0
#: Variables that keep a library from a second core: the process may have only one of them, too.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


class LibraryProcess:
    """One library's process. After a fault it is ended, and answers nothing more."""

    def __init__(self, name: str, python: str | Path) -> None:
        self.process = psutil.Popen(
            [python, "-I", PEERS / "engine_program.py", name],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ONE_THREAD,
        )

    def ask(self, patience: float, **words: Any) -> dict[str, Any]:
        """Have it load a model, or time or write the values of its first rows. Raises WayError."""
        answer, pipe = {"fault": "its process ended"}, self.process.stdout
        with contextlib.suppress(OSError, ValueError):  # it has ended
            self.process.stdin.write(json.dumps(words).encode() + b"\n")
            in_time = select.select([pipe], [], [], patience)[0]
            answer = json.loads(pipe.readline()) if in_time else {"fault": f"> {patience:.0f} s"}
        if "fault" in answer:
            self.end()
            raise WayError(answer["fault"])
        return answer

    def way(self, patience: float) -> Way:
        """Return what has it explain so many rows, and gives the seconds that it measured."""
        return lambda rows: float(self.ask(patience, do="time", rows=rows)["seconds"])

    def end(self) -> None:
        """End its process."""
        self.process.stdin.close()
        self.process.stdout.close()
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.kill()
        self.process.wait()


@dataclass(slots=True)
class Loaded:
    """The libraries that have loaded a model: ways, first values, and why others could not."""

    ways: dict[str, Way] = field(default_factory=dict)
    values: dict[str, Matrix] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)


@contextmanager
def loaded(
    effort: Effort,
    booster: Any,
    rows: Matrix,
    compared: int,
    patience: float,
    background: Matrix | None = None,
) -> Iterator[Loaded]:
    """Have them load the model and explain some rows. They end with the block."""
    found = Loaded()
    python = peer_python("engines", effort.say) if effort.peers else None
    with tempfile.TemporaryDirectory(prefix="shapbox-bench-") as folder, contextlib.ExitStack() as stack:
        words = {"model": str(Path(folder, "model.ubj"))}
        booster.save_model(words["model"])
        for name, matrix in {"rows": rows, "background": background}.items():
            if matrix is not None:
                words[name] = str(Path(folder, f"{name}.npy"))
                np.save(words[name], matrix)
        values = Path(folder, "values.npy")
        for name in NAMES if python else ():
            library = LibraryProcess(name, str(python))
            stack.callback(library.end)
            try:
                library.ask(LOAD_SECONDS, do="load", **words)
                library.ask(patience, do="values", rows=compared, path=str(values))
            except WayError as fault:
                found.lost[name] = str(fault)
                continue
            found.ways[name] = library.way(patience)
            found.values[name] = np.load(values).astype(np.float32)
        yield found


def peer_python(name: str, say: Say) -> Path | None:
    """Return the Python of a peer's environment, made if missing; None if it cannot be made."""
    folder, lock = ENVIRONMENTS / name, PEERS / f"{name}.lock"
    python, stamp = folder / "bin" / "python", folder / "shapbox-stamp"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted and python.exists():
        return python
    say(f"installing {name}'s locked packages")
    uv = shutil.which("uv", path=f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}") or "uv"
    making = [uv, "venv", "--quiet", "--clear", "--python", PYTHONS[name], folder]
    filling = [
        uv,
        "pip",
        "sync",
        "--quiet",
        "--python",
        python,
        "--require-hashes",
        "--only-binary",
        ":all:",
        lock,
    ]
    try:
        for command in (making, filling):
            subprocess.run(list(map(str, command)), check=True)
    except (OSError, subprocess.CalledProcessError) as fault:
        say(f"{name} is left out: {fault}")
        return None
    stamp.write_text(wanted, encoding="ascii")
    return python
