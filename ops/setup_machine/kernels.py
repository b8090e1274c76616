"""Builds the compiled engine's kernels if there is a C compiler; else XGBoost explains."""

from __future__ import annotations

from ops.setup_machine.commands import say
from shared.treeshap.build import BuildError, build, find_compiler, is_current


def ensure_kernels() -> None:
    """Build the kernels unless they are current, or print what their absence means."""
    if is_current():
        return
    if find_compiler() is None:
        say(
            "No C compiler is here: Shapbox works with XGBoost's engine, a hundred times slower than its own "
            "(Debian, Ubuntu: apt-get install gcc libc6-dev, then make again)."
        )
        return
    say("Building the compiled engine's kernels …")
    try:
        build()
    except (BuildError, OSError) as error:
        say(f"The kernels could not be built, so Shapbox works with XGBoost's engine: {error}")
