"""The environment of child processes that need neither settings nor keys."""

from __future__ import annotations

import os
from collections.abc import Mapping

#: The beginnings of the variables that the system, Python and native libraries read. None of them is a secret.
COMMON = ("PATH", "HOME", "LANG", "LC_", "TZ", "TMPDIR", "PYTHON", "LD_", "OPENBLAS_", "GLIBC_")


def child_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables without keys, tokens and addresses; by default of this process."""
    given = os.environ if environment is None else environment  # noqa: TID251  # passed on to a child
    return {name: value for name, value in given.items() if name.startswith(COMMON)}
