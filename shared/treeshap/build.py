"""`python -m shared.treeshap.build`: compiles the kernels with the machine's C compiler.

Needs nothing but Python's standard library and a C compiler; what it makes needs neither. No flag asks for the building
machine's own instructions: one object holds a kernel for each instruction set, and chooses where it runs.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: Where the sources are, and where the object goes.
SOURCES = Path(__file__).parent / "native"
LIBRARY = SOURCES / "treeshap.so"

#: The compilers that are looked for, the first that is found is used.
COMPILERS = ("cc", "gcc", "clang")
FLAGS = (
    "-std=c11",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-Wall",
    "-Wextra",
)
#: The kernels of x86, and the instructions that they may use.
X86_KERNELS = {
    "avx2": ("-mavx2", "-mfma"),
    "avx512": (
        "-mavx512f",
        "-mavx512bw",
        "-mavx512vl",
        "-mavx512dq",
        "-mfma",
        "-mprefer-vector-width=512",
    ),
}


class BuildError(Exception):
    """The kernels cannot be built; the message says why."""


def is_x86() -> bool:
    """Tell whether this machine runs x86's instructions."""
    return platform.machine().lower() in ("x86_64", "amd64")


def find_compiler() -> str | None:
    """Return a C compiler's path, or None."""
    return next((path for name in COMPILERS if (path := shutil.which(name))), None)


def is_current(target: Path = LIBRARY) -> bool:
    """Tell whether the object is there and newer than all sources."""
    sources = [*SOURCES.glob("*.[ch]"), Path(__file__)]
    return target.exists() and target.stat().st_mtime >= max(path.stat().st_mtime for path in sources)


def build(target: Path = LIBRARY, extra: Sequence[str] = ()) -> Path:
    """Compile and link, and put the object in its place at once. Raises BuildError."""
    compiler = find_compiler()
    if compiler is None:
        raise BuildError(f"no C compiler is here ({', '.join(COMPILERS)})")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        objects = {f"{folder}/{name}.o": command for name, command in _compilations().items()}
        with ThreadPoolExecutor() as pool:
            for done in [
                pool.submit(_run, compiler, *FLAGS, *extra, *how, "-o", to) for to, how in objects.items()
            ]:
                done.result()
        linked = Path(folder) / "treeshap.so"
        _run(compiler, "-shared", *extra, *objects, "-o", linked, "-lm")
        linked.rename(target)
    return target


def _compilations() -> dict[str, list[str]]:
    """Return what is compiled, and each one's own flags."""
    kernels = {"portable": (), **(X86_KERNELS if is_x86() else {})}
    found = {
        name: [*flags, f"-DKERNEL=treeshap_{name}", "-c", str(SOURCES / "kernel.c")]
        for name, flags in kernels.items()
    }
    found["dispatch"] = [*(("-DTREESHAP_X86",) if is_x86() else ()), "-c", str(SOURCES / "dispatch.c")]
    return found


def _run(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)  # noqa: S603  # a compiler from PATH
    if done.returncode != 0:
        raise BuildError(f"{command[0]} failed: {(done.stderr.strip() or 'it says nothing')[-2000:]}")


def main() -> int:
    """Build, unless the object is newer than its sources; return the exit code."""
    try:
        if not is_current():
            build()
    except (BuildError, OSError) as error:
        sys.stderr.write(f"treeshap: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
