"""A preflight as one call, which each deploy makes first."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from ops.render.api import RenderApi
from ops.render.preflight.checks import Preflight
from ops.render.preflight.finding import Finding
from ops.render.preflight.options import PreflightOptions
from ops.render.transport import Transport

#: Attempts to have Render look at a blueprint: our own rules hold without it.
ATTEMPTS = 2


def run_preflight(options: PreflightOptions) -> list[Finding]:
    """Make every check, and have Render look at the blueprints where a key is given."""
    if options.api_key is None:
        return list(Preflight(options).findings())
    patience = replace(options.patience, attempts=ATTEMPTS)
    with contextlib.closing(Transport(options.host, options.api_key, patience)) as transport:
        return list(Preflight(options, RenderApi(transport)).findings())
