"""The address and undefined-behaviour sanitizers, for kernels built for a test."""

from __future__ import annotations

import subprocess

SANITIZERS = (
    "-O0",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)


def sanitizer_of(compiler: str) -> str | None:
    """Return the path of the compiler's address sanitizer, or None."""
    command = [compiler, "-print-file-name=libasan.so"]
    path = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return path if path.startswith("/") else None
