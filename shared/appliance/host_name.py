"""What an appliance calls itself: its workers are HOST/worker-1 and so on, and its monitor knows them by it.

Containers may share a hostname, and appliances on one machine do, so boot makes a name (ops/boot/host_name.py). A
program that was started without boot takes the machine's.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

#: Where a program that boot has started finds it.
HOST_NAME_NAME = "SHAPBOX_HOST_NAME"


def host_name(environment: Mapping[str, str]) -> str:
    """Return the appliance's name, the same in all its programs."""
    return environment.get(HOST_NAME_NAME) or socket.gethostname()
