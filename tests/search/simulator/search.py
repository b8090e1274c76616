"""Runs histories one after the other, and prints the one that fails."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.settings import Settings
from tests.search.simulator.clocked_redis import ClockedRedis
from tests.search.simulator.history import History, load_scripts, replaced_parts
from tests.search.simulator.planted import planted
from tests.search.simulator.shims import shims

#: Lines of a failing history's trace that a search prints: its end.
MOST_LINES = 80


@dataclass(slots=True)
class Simulator:
    """Runs histories in one folder, with one server."""

    server: ClockedRedis
    folder: Path
    #: The steps of all histories so far.
    steps: int = 0

    def run(self, seed: int, trace: Callable[[str], None] | None = None) -> Exception | None:
        """Run one history; return what it found."""
        shutil.rmtree(self.folder / "objects", ignore_errors=True)
        history = History(seed, self.server, self.folder, trace)
        try:
            history.run()
        except Exception as fault:  # noqa: BLE001  # any fault is the result
            return fault
        finally:
            self.steps += history.world.steps
        return None


@contextmanager
def simulator(plant: str | None) -> Iterator[Simulator]:
    """Prepare this process for histories, with a bug in the product if one is named."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="shapbox-sim-") as name, ExitStack() as stack:
        stack.callback(logging.disable, logging.NOTSET)
        folder = Path(name)
        settings = Settings(data_dir=folder)
        settings.run_dir.mkdir()
        server = ClockedRedis(settings.run_dir)
        stack.callback(server.stop)
        stack.enter_context(planted(plant))
        stack.enter_context(shims(replaced_parts()))
        load_scripts(server)
        yield Simulator(server, folder)


def search(seeds: Iterable[int], plant: str | None = None) -> int | None:
    """Run histories up to the first that fails; print its trace's end, return its seed."""
    started, count, failing = time.process_time(), 0, None
    with simulator(plant) as runner:
        for seed in seeds:
            count += 1
            if (fault := runner.run(seed)) is None:
                continue
            failing = seed
            lines: deque[str] = deque(maxlen=MOST_LINES)
            again = runner.run(seed, lines.append)
            _say(*lines, f"history {seed} fails: {fault!r}")
            if repr(again) != repr(fault):
                _say(f"run again, it ends otherwise: {again!r}")
            _say(f"python -m tests.search.simulator --seed {seed}" + (f" --plant {plant}" if plant else ""))
            break
    seconds = time.process_time() - started
    _say(f"{count} histories, {runner.steps} steps, {seconds:.0f} s of processor time")
    return failing


def print_history(seed: int, plant: str | None = None) -> bool:
    """Print the trace of one history; return whether it fails."""
    with simulator(plant) as runner:
        fault = runner.run(seed, _say)
    _say("no promise is broken" if fault is None else f"history {seed} fails: {fault!r}")
    return fault is not None


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
