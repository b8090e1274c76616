"""Raises the limit of open files, which the programs inherit, for the api's connections."""

from __future__ import annotations

import resource

from shared.errors import BootError
from shared.settings import Settings


def raise_file_limit(settings: Settings) -> None:
    """Raise BootError that names the setting and the limit if the hard limit is too low."""
    needed = settings.api_files
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _is_below(hard, needed):
        raise BootError(
            f"MAX_CONNECTIONS={settings.max_connections} needs up to {needed} open files, and the hard limit is {hard}: "
            f"lower MAX_CONNECTIONS, or raise the limit (docker run --ulimit nofile={needed})."
        )
    if _is_below(soft, needed):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _is_below(limit: int, needed: int) -> bool:
    return limit != resource.RLIM_INFINITY and limit < needed
