"""Parts that uv cannot install: a Redis server, the plots' font, the compiled kernels."""

from __future__ import annotations

import contextlib

from ops.setup_machine.commands import SetupError, can_install, install, output_of
from shared.font import FILE, PACKAGE, find_font
from shared.treeshap.build import BuildError, build, find_compiler, is_current


def ensure_redis_server() -> None:
    """Install redis-server unless it or valkey-server runs here. Raises SetupError on failure."""
    if any(output_of(program, "--version") for program in ("redis-server", "valkey-server")):
        return
    if not can_install():
        raise SetupError(
            "redis-server is missing: install it (Debian, Ubuntu: sudo apt-get install redis-server) and run make "
            "again, or set REDIS_URL to a remote Redis."
        )
    install("redis-server")


def ensure_font() -> None:
    """Install the font if it is not here, or say what its absence means: SVG needs none."""
    if find_font() is None and can_install():
        with contextlib.suppress(SetupError):
            install(PACKAGE)
    if find_font() is None:
        print(
            f"The font {FILE} is missing: plots come as SVG and not as PNG (Debian, Ubuntu: apt-get install {PACKAGE})."
        )


def ensure_kernels() -> None:
    """Build the kernels unless they are current, or say what their absence means."""
    if is_current():
        return
    if find_compiler() is None:
        print(
            "No C compiler is here: Shapbox works with XGBoost's engine, a hundred times slower than its own "
            "(Debian, Ubuntu: apt-get install gcc libc6-dev, then make again)."
        )
        return
    print("Building the compiled engine's kernels …", flush=True)
    try:
        build()
    except (BuildError, OSError) as error:
        print(f"The kernels could not be built, so Shapbox works with XGBoost's engine: {error}")
