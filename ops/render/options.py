"""The options of a preflight and a deploy: read once, with one message for all faults."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from shared.errors import SettingsError
from shared.settings import KEY_NAMES

#: Where Render's API is. RENDER_HOST overrides it, as it does for Render's own command line.
API_ADDRESS = "https://api.render.com/v1"
#: Words that switch something off, and on.
OFF, ON = frozenset({"no", "0", "false", "off"}), frozenset({"yes", "1", "true", "on"})
NO_KEY = (
    "RENDER_API_KEY is not set: make a key in Render's dashboard (Account Settings, API Keys) and put it into the "
    "environment, or into a file that RENDER_API_KEY_FILE names. RENDER_DEPLOY_HOOK works, too, but without a rollback"
)
_ADDRESS = re.compile(r"https?://[^/\s]+\S*")
_HOOK = re.compile(r"https?://[^/\s]+/deploy/[^/\s?]+\?\S*key=\S+")


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    UNUSABLE = 2
    INTERRUPTED = 130


@dataclass(frozen=True)
class Options:
    """The options, most named like their variables. The representation holds no secret."""

    service: str = ""
    api_key: str | None = field(default=None, repr=False)
    hook: str | None = field(default=None, repr=False)
    host: str = API_ADDRESS
    #: Where the service answers, if Render does not say it; no slash at its end.
    url: str = ""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_fallback_model: bool = False
    preflight: bool = True
    image: bool = True
    verify: bool = True
    rollback: bool = True
    soak_minutes: float = 0.0
    #: Minutes that a deploy may take, waiting behind another included: Render gives its health 15.
    deploy_minutes: float = 45.0
    #: Seconds in which what is live must answer at its address with its commit.
    settle_seconds: float = 60.0
    #: Seconds between two looks.
    deploy_poll_seconds: float = 3.0

    @classmethod
    def read(cls, environment: Mapping[str, str], service: str | None, *, deploying: bool) -> Self:
        """Read and check everything; `service` is the blueprint's, for those who name none.

        Raises SettingsError, which lists every fault.
        """
        given, faults = {name: text.strip() for name, text in environment.items()}, list[str]()
        options = cls(
            service=given.get("SERVICE") or given.get("RENDER_SERVICE") or service or "",
            api_key=_secret(given, "RENDER_API_KEY", faults),
            hook=_secret(given, "RENDER_DEPLOY_HOOK", faults),
            host=given.get("RENDER_HOST") or API_ADDRESS,
            url=given.get("URL", "").rstrip("/"),
            keys={name: key for name in KEY_NAMES if (key := _secret(given, name, faults))},
            **cls._numbers_and_flags(given, faults),
        )
        if deploying:
            faults += options._faults()
        if faults:
            raise SettingsError("This cannot be used:\n" + "\n".join(f"  - {fault}" for fault in faults))
        return options

    @classmethod
    def _numbers_and_flags(cls, given: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, default in ((one.name, one.default) for one in fields(cls)):
            word = given.get(name.upper(), "").lower()
            if not word or not isinstance(default, bool | float):
                continue
            if isinstance(default, bool) and word in OFF | ON:
                found[name] = word in ON
            elif isinstance(default, float) and re.fullmatch(r"\d{1,6}(\.\d*)?|\.\d+", word, re.ASCII):
                found[name] = float(word)
            else:
                wanted = "yes or no" if isinstance(default, bool) else "a number from 0 to 999999"
                faults.append(f"{name.upper()} is {word!r}: it must be {wanted}")
        return found

    def _faults(self) -> Iterator[str]:
        """Say what a deploy lacks or cannot use. A hook cannot be asked for anything."""
        if self.api_key is None and self.hook is None:
            yield NO_KEY
        elif self.api_key is None:
            if not self.url:
                yield "URL is not set: with a deploy hook, say where the service answers (URL=https://…)"
            if self.verify and (lacking := ", ".join(name for name in KEY_NAMES if name not in self.keys)):
                yield f"{lacking} not set: copy them from the service's Environment page, or give VERIFY=no"
        elif not self.service:
            yield "SERVICE is not set, and render.yaml names none: make deploy SERVICE=NAME"
        if self.hook and not _HOOK.fullmatch(self.hook):
            yield "RENDER_DEPLOY_HOOK is no deploy hook: copy it whole from the service's Settings"
        for name, address in (("RENDER_HOST", self.host), ("URL", self.url)):
            if address and not _ADDRESS.fullmatch(address):
                yield f"{name} is no address: write https://HOST"

    @property
    def secrets(self) -> list[str]:
        """Return everything that nobody may see."""
        hook_keys = parse_qs(urlsplit(self.hook or "").query).get("key", [])
        return [one for one in (self.api_key, self.hook, *hook_keys, *self.keys.values()) if one]


def _secret(given: Mapping[str, str], name: str, faults: list[str]) -> str | None:
    """Return a secret, by NAME or from the file that NAME_FILE names."""
    file = given.get(f"{name}_FILE")
    if given.get(name) or not file:
        return given.get(name) or None
    try:
        return Path(file).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as fault:
        faults.append(f"{name}_FILE: {file} cannot be read ({type(fault).__name__})")
        return None
