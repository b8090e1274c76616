"""The user of Redis that docs/scale-out.md makes, with few permissions."""

from __future__ import annotations

import re
import shlex

from shared.build import ROOT

#: The user's password.
PASSWORD_OF_USER = "few-permissions"


def documented_user() -> list[str]:
    """Return the words of the documented command that makes the user `shapbox`."""
    text = (ROOT / "docs" / "scale-out.md").read_text(encoding="utf-8")
    found = re.search(r"redis-cli -h HOST (ACL SETUSER .*?)```", text, re.DOTALL)
    assert found is not None
    return shlex.split(found[1].replace("PASSWORD", PASSWORD_OF_USER).replace("\\\n", " "))
