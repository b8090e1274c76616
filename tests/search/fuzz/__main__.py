"""`python -m tests.search.fuzz [TARGET…]`: fuzzes each target for FUZZ_SECONDS (1800).


atheris guides the inputs by coverage. It is installed into `.cache/fuzz`, beside the environment, at the first run. New
inputs are kept there too; an input that shows a fault is printed, and belongs into the target's corpus as `fault-…`.
FUZZ_JOBS (the processors) says how many targets run at a time. At the end all inputs of the targets that call the kernels
are run again on kernels with the address and undefined-behaviour sanitizers.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from shared.build import ROOT
from shared.treeshap import build
from tests.search.fuzz.targets import CORPUS, TARGETS
from tests.support.sanitizers import SANITIZERS, sanitizer_of

WORK = ROOT / ".cache" / "fuzz"
LOCK = Path(__file__).with_name("atheris.lock")
#: The targets that call the kernels.
NATIVE = ("forest", "table_file")
#: Bytes of an input, MB of memory, and seconds of one input, at most.
_MOST_BYTES, _MOST_MB, _MOST_SECONDS = 4096, 1200, 60
_STATISTICS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_FAULT = re.compile(r"Test unit written to (\S+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one target: how much was tried, and where the input with a fault is."""

    target: str
    executions: int
    edges: int
    features: int
    inputs: int
    fault: str | None

    def row(self) -> str:
        """Return a line of the table."""
        numbers = f"{self.executions:>12,} {self.edges:>7,} {self.features:>9,} {self.inputs:>7,}"
        return f"{self.target:20} {numbers}  {self.fault or 'nothing'}"


def main(names: list[str]) -> int:
    """Fuzz the targets, all unless some are named; return the exit code."""
    install()
    jobs = int(os.environ.get("FUZZ_JOBS") or os.cpu_count() or 1)
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(fuzz, names or TARGETS))
    say(f"{'target':20} {'executions':>12} {'edges':>7} {'features':>9} {'inputs':>7}  found")
    for outcome in outcomes:
        say(outcome.row())
    sanitized = [rerun(name) for name in NATIVE if name in (names or TARGETS)]
    return 0 if all(sanitized) and not any(outcome.fault for outcome in outcomes) else 1


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def install() -> None:
    """Install atheris beside the environment, unless it is there."""
    if (WORK / "packages" / "atheris").exists():
        return
    uv = Path(sys.executable).with_name("uv")
    words = (
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--python",
        sys.executable,
    )
    subprocess.run([uv, *words, "--target", WORK / "packages", "-r", LOCK], check=True)


def fuzz(target: str) -> Outcome:
    """Fuzz one target in a process of its own."""
    inputs = WORK / "inputs" / target
    inputs.mkdir(parents=True, exist_ok=True)
    seconds = os.environ.get("FUZZ_SECONDS") or "1800"
    limits = (f"-max_len={_MOST_BYTES}", f"-rss_limit_mb={_MOST_MB}", f"-timeout={_MOST_SECONDS}")
    options = (
        f"-max_total_time={seconds}",
        "-print_final_stats=1",
        f"-artifact_prefix={inputs.parent}/{target}-",
    )
    said = _run(target, *limits, *options, str(inputs), str(CORPUS / target))
    executed, covered, fault = (one.findall(said) for one in (_STATISTICS, _COVERAGE, _FAULT))
    (inputs.parent / f"{target}.log").write_text(said, encoding="utf-8")
    edges, features, corpus = map(int, covered[-1]) if covered else (0, 0, 0)
    lost = None if executed else f"it ended: {inputs.parent}/{target}.log"
    return Outcome(target, int((executed or ["0"])[-1]), edges, features, corpus, fault[0] if fault else lost)


def rerun(target: str) -> bool:
    """Run a target's inputs again with sanitized kernels; return whether they found nothing."""
    preload = sanitizer_of(build.find_compiler() or "cc")
    if not preload:
        say(f"{target}: this compiler has no sanitizers")
        return True
    library = WORK / "sanitized.so"
    if not build.is_current(library):
        build.build(library, SANITIZERS)
    more = {"LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0", "SHAPBOX_FUZZ_KERNELS": str(library)}
    folders = [str(WORK / "inputs" / target), str(CORPUS / target)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.search.fuzz.replay", target, *folders],
        cwd=ROOT,
        env={**os.environ, **more},
        capture_output=True,
        text=True,
        check=False,
    )
    say(f"{target} with sanitizers: {done.stdout.strip() or done.stderr[-3000:]}")
    return done.returncode == 0


def _run(target: str, *options: str) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{WORK / 'packages'}"}
    command = [sys.executable, str(Path(__file__).with_name("under_atheris.py")), target, *options]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.stdout.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
