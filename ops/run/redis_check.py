"""Asks a remote Redis before the start whether it accepts us, to tell errors from outages.

One that is merely away is no reason not to start: the programs wait for it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Mapping

from shared.build import ROOT
from shared.errors import BootError
from shared.redis.url import public_address, tls_files
from shared.settings import Settings

#: How the probe ends if Redis refuses us, and if it is away.
REFUSED, AWAY = 3, 4
#: Seconds after which a probe counts as one that found nobody: a name server may take its time.
PROBE_SECONDS = 6.0

_log = logging.getLogger(__name__)


def check_redis(settings: Settings, environment: Mapping[str, str]) -> None:
    """Raise BootError if REDIS_URL names files that cannot be read, or a Redis that refuses us."""
    if settings.redis_url is None:
        return
    _check_files(settings.redis_url)
    address = public_address(settings.redis_url)
    # A process of its own: this one becomes supervisord at once, and need not load a Redis client for it.
    command = [sys.executable, "-m", "ops.run.redis_probe"]
    try:
        probe = subprocess.run(
            command,
            cwd=ROOT,
            env=dict(environment),
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        code, said = AWAY, f"no answer in {PROBE_SECONDS:.0f} s"
    else:
        code, said = probe.returncode, (probe.stdout or probe.stderr[-500:]).strip()
    if code == REFUSED:
        raise BootError(f"REDIS_URL: {address} {said}")
    if code not in {0, AWAY}:
        _log.warning("asking Redis broke, and the programs will see for themselves: %s", said)
    if code == AWAY:
        _log.warning("Redis does not answer yet, the programs will wait for it: %s", said)


def _check_files(url: str) -> None:
    for name, path in tls_files(url).items():
        if not os.access(path, os.R_OK):
            raise BootError(f"REDIS_URL: {name} {path} cannot be read: name a file that this user may read.")
