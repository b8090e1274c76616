"""The options of a preflight and a deploy: read once, with one message for all faults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlsplit

from shared.errors import SettingsError
from shared.settings import KEY_NAMES

#: Where Render's API is. RENDER_HOST overrides it, as it does for Render's own command line.
API_ADDRESS = "https://api.render.com/v1"
#: Words that switch something off, and on.
OFF, ON = frozenset({"no", "0", "false", "off"}), frozenset({"yes", "1", "true", "on"})
NO_KEY = (
    "RENDER_API_KEY is not set: make a key in Render's dashboard (Account Settings, API Keys) and put it into the "
    "environment, or into a file that RENDER_API_KEY_FILE names. RENDER_DEPLOY_HOOK does as well, without rolling back"
)


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    UNUSABLE = 2
    INTERRUPTED = 130


class _Reading:
    """Takes values out of an environment, and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.faults: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        return self._environment.get(name, "").strip() or default

    def secret(self, name: str) -> str | None:
        """Return a secret, by NAME or from the file that NAME_FILE names."""
        file = self.text(f"{name}_FILE")
        if self.text(name) or not file:
            return self.text(name) or None
        try:
            return Path(file).read_text(encoding="utf-8").strip() or None
        except (OSError, UnicodeDecodeError) as fault:
            self.faults.append(f"{name}_FILE: {file} cannot be read ({type(fault).__name__})")
            return None

    def flag(self, name: str, *, default: bool) -> bool:
        word = self.text(name).lower()
        if word and word not in OFF | ON:
            self.faults.append(f"{name} is {word!r}: write {name}=yes or {name}=no")
        return word in ON or (default and word not in OFF)

    def number(self, name: str, default: float) -> float:
        try:
            number = float(self.text(name) or default)
        except ValueError:
            number = -1.0
        if not 0 <= number < 1e6:
            self.faults.append(f"{name} is no number from 0 on")
        return number


@dataclass(frozen=True)
class Options:
    """The options. Secrets are kept out of the representation."""

    service: str = ""
    api_key: str | None = field(default=None, repr=False)
    hook: str | None = field(default=None, repr=False)
    host: str = API_ADDRESS
    #: Where the service answers, if Render does not say it; no slash at its end.
    url: str = ""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    fallback_allowed: bool = False
    preflight: bool = True
    image: bool = True
    verify: bool = True
    roll_back: bool = True
    soak_minutes: float = 0.0
    #: Minutes that a deploy may take, waiting behind another included: Render gives its health 15.
    minutes: float = 45.0
    #: Seconds in which what is live must answer at its address with its commit.
    settle_seconds: float = 60.0
    #: Seconds between two looks.
    poll: float = 3.0

    @classmethod
    def read(cls, environment: Mapping[str, str], service: str | None, *, deploying: bool) -> Self:
        """Read and check everything; `service` is the blueprint's, for those who name none.

        Raises SettingsError, which lists every fault.
        """
        reading = _Reading(environment)
        options = cls(
            service=reading.text("SERVICE", reading.text("RENDER_SERVICE", service or "")),
            api_key=reading.secret("RENDER_API_KEY"),
            hook=reading.secret("RENDER_DEPLOY_HOOK"),
            host=reading.text("RENDER_HOST", API_ADDRESS),
            url=reading.text("URL").rstrip("/"),
            keys={name: key for name in KEY_NAMES if (key := reading.secret(name))},
            fallback_allowed=reading.flag("ALLOW_FALLBACK_MODEL", default=False),
            preflight=reading.flag("PREFLIGHT", default=True),
            image=reading.flag("IMAGE", default=True),
            verify=reading.flag("VERIFY", default=True),
            roll_back=reading.flag("ROLLBACK", default=True),
            soak_minutes=reading.number("SOAK_MINUTES", cls.soak_minutes),
            minutes=reading.number("DEPLOY_MINUTES", cls.minutes),
            settle_seconds=reading.number("SETTLE_SECONDS", cls.settle_seconds),
            poll=reading.number("DEPLOY_POLL_SECONDS", cls.poll),
        )
        faults = reading.faults + (options._faults() if deploying else [])
        if faults:
            raise SettingsError("This cannot be used:\n" + "\n".join(f"  - {fault}" for fault in faults))
        return options

    def _faults(self) -> list[str]:
        """Return what a deploy lacks or cannot use. A hook cannot be asked for anything."""
        by_hook = self.api_key is None and self.hook is not None
        hook = r"https?://[^/\s]+/deploy/[^/\s?]+\?\S*key=\S+"
        lacking = ", ".join(name for name in KEY_NAMES if name not in self.keys)
        nameless, unplaced = self.api_key is not None and not self.service, by_hook and not self.url
        keyless = by_hook and self.verify and bool(lacking)
        wrong_hook = self.hook is not None and not re.fullmatch(hook, self.hook)
        rules = {
            NO_KEY: self.api_key is None and self.hook is None,
            "SERVICE is not set, and render.yaml names none: make deploy SERVICE=NAME": nameless,
            "RENDER_DEPLOY_HOOK is no deploy hook: copy it whole from the service's Settings": wrong_hook,
            "RENDER_HOST is no address: write https://HOST": _is_no_address(self.host),
            "URL is no address: write https://HOST": _is_no_address(self.url),
            "URL is not set: with a deploy hook, say where the service answers (URL=https://…)": unplaced,
            f"{lacking} not set: copy them from the service's Environment page, or give VERIFY=no": keyless,
        }
        return [fault for fault, holds in rules.items() if holds]

    @property
    def secrets(self) -> list[str]:
        """Return everything that nobody may see."""
        hook_keys = parse_qs(urlsplit(self.hook).query).get("key", []) if self.hook else []
        return [one for one in (self.api_key, self.hook, *hook_keys, *self.keys.values()) if one]


def _is_no_address(text: str) -> bool:
    return bool(text) and not re.fullmatch(r"https?://[^/\s]+\S*", text)
