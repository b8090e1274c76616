"""The steps that a person must take while there is no service yet."""

from __future__ import annotations

import re

#: Where the dashboard creates what a blueprint describes.
NEW_BLUEPRINT = "https://dashboard.render.com/blueprint/new?repo="
#: The forms in which git names a repository at a host: git@HOST:PATH, ssh://git@HOST/PATH, https://NAME@HOST/PATH.
_SCP, _ADDRESS = (
    r"(?:[\w.-]+@)?([\w.-]+):(?!//)(.+?)",
    r"(?:ssh|git|https?)://(?:[^@/]+@)?([\w.-]+)(?::\d+)?/(.+?)",
)


def web_address(remote: str) -> str | None:
    """Return a git remote's address for a browser, without a password; None for a folder."""
    for form in (_ADDRESS, _SCP):
        if found := re.fullmatch(rf"{form}(?:\.git)?/?", remote.strip()):
            return f"https://{found[1]}/{found[2]}"
    return None


def how_to_create(service: str, remote: str | None, blueprint: str = "render.yaml") -> str:
    """Say what to do until there is a service of this name."""
    repository = web_address(remote) if remote else None
    return "\n".join(
        [
            f"This key sees no service called {service}. Create it once:",
            f"  1. Open {NEW_BLUEPRINT}{repository or 'ADDRESS-OF-YOUR-REPOSITORY'}",
            "     and connect the repository (Render asks for the right to read it).",
            f"  2. Leave the path at {blueprint}, name the Blueprint, and press Apply. It makes the service, its disk and keys.",
            "  3. Run make deploy again.",
            "If it exists under another name: make deploy SERVICE=NAME-OR-ID.",
            "If another workspace has it: take a key that sees that one.",
        ]
    )
