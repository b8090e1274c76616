"""`python -m ops.run_tests`: runs all tests, as `make test` does, in half an hour.

The container's tests mostly wait for builds and for containers, and those with a Prometheus for alerts. They and
the generated clients' run beside the unit and integration tests and the console's.
Those of the supervised whole come after them, alone: they measure how long things take.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from typing import IO

from shared.build import ROOT

#: Tests that run in parallel, and tests that run alone afterwards.
BESIDE, ALONE = (
    (
        ("tests/unit", "tests/integration", "tests/console"),
        ("tests/container", "tests/watch", "tests/clients"),
    ),
    ("tests/appliance",),
)


def main() -> int:
    """Run everything, even after failures; return the first exit code that is not 0."""
    first, second = BESIDE
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        background = _start(second, said)
        try:
            codes = [_start(first).wait()]
            codes.append(background.wait())
        finally:
            background.kill()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    codes.append(_start(ALONE).wait())
    print(
        f"{', '.join((*first, *second, *ALONE))}: {(time.monotonic() - started) / 60:.0f} minutes", flush=True
    )
    return next((code for code in codes if code), 0)


def _start(folders: tuple[str, ...], output: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    print(f"testing {' and '.join(folders)}{' beside them' if output else ''}", flush=True)
    words = [sys.executable, "-m", "pytest", *folders]
    # Two pytest processes must not share what one of them writes about the last run.
    cache = ["-p", "no:cacheprovider"] if output else []
    return subprocess.Popen(
        [*words, *cache], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT if output else None
    )


if __name__ == "__main__":
    sys.exit(main())
