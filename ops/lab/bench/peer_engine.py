"""Another library that explains the same model, in a process and an environment of its own."""

from __future__ import annotations

import json
import selectors
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ops.lab.bench.peer_environments import PEERS

#: Seconds that importing a library and loading a model may take.
LOAD_SECONDS = 60.0
#: Variables that keep a library from a second core: the process may have only one of them, too.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)

type Matrix = NDArray[np.float32]


class PeerError(Exception):
    """The library cannot do it, or not in time; the message is what the table says."""


class PeerEngine:
    """One library. After a fault it is ended, and answers nothing more about that model."""

    def __init__(self, name: str, python: Path) -> None:
        self.name = name
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None

    def load(self, model: Path, rows: Path, background: Path | None = None) -> None:
        """Have it load a model. Raises PeerError."""
        words = {"model": str(model), "rows": str(rows), "background": background and str(background)}
        self._ask(LOAD_SECONDS, do="load", **words)

    def seconds(self, rows: int, patience: float) -> float:
        """Have it explain so many rows; return the seconds that it measured. Raises PeerError."""
        return float(self._ask(patience, do="time", rows=rows)["seconds"])

    def values(self, rows: int, patience: float) -> NDArray[np.float64]:
        """Return its values of the first so many rows: rows x features. Raises PeerError."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "values.npy"
            self._ask(patience, do="values", rows=rows, path=str(path))
            found: NDArray[np.float64] = np.load(path)
        return found

    def end(self) -> None:
        """End its process; the next question starts another one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def _ask(self, patience: float, **words: Any) -> dict[str, Any]:
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(words).encode() + b"\n")
            process.stdin.flush()
            answered = _readable(process.stdout.fileno(), patience)
            line = process.stdout.readline() if answered else b""
        except BrokenPipeError:
            answered, line = True, b""
        if not line:
            self.end()
            raise PeerError("its process ended" if answered else f"> {patience:.0f} s")
        answer: dict[str, Any] = json.loads(line)
        if "fault" in answer:
            self.end()
            raise PeerError(answer["fault"])
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._python, "-I", PEERS / "engine_program.py", self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ONE_THREAD,
        )


def _readable(pipe: int, seconds: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return bool(selector.select(seconds))


@contextmanager
def peer_engines(names: list[str], python: Path | None) -> Iterator[list[PeerEngine]]:
    """Give those libraries, none where their environment is not there; all end with the block."""
    engines = [PeerEngine(name, python) for name in names] if python else []
    try:
        yield engines
    finally:
        for engine in engines:
            engine.end()
