"""A deploy's options: read once from the environment, with one message for all faults."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from ops.render.patience import POLL_SECONDS, Patience
from ops.render.reading import OptionsError, Reading
from ops.render.transport import API_ADDRESS
from shared.settings import KEY_NAMES

#: Minutes that a deploy may take, waiting behind another included: Render gives its health 15.
MINUTES = 45.0
#: Seconds in which what is live must answer at its address with its commit.
SETTLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class DeployOptions:
    """The options. Secrets are kept out of the representation."""

    service: str = ""
    api_key: str | None = field(default=None, repr=False)
    hook: str | None = field(default=None, repr=False)
    host: str = API_ADDRESS
    #: Where the service answers, if Render does not say it.
    url: str = ""
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    preflight: bool = True
    verify: bool = True
    roll_back: bool = True
    soak_minutes: float = 0.0
    minutes: float = MINUTES
    settle_seconds: float = SETTLE_SECONDS
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def read(cls, environment: Mapping[str, str], service: str | None) -> DeployOptions:
        """Read and check everything; `service` is the blueprint's, for those who name none.

        Raises OptionsError.
        """
        reading = Reading(environment)
        options = cls(
            service=reading.text("SERVICE", reading.text("RENDER_SERVICE", service or "")),
            api_key=reading.secret("RENDER_API_KEY"),
            hook=reading.secret("RENDER_DEPLOY_HOOK"),
            host=reading.text("RENDER_HOST", API_ADDRESS),
            url=reading.text("URL").rstrip("/"),
            keys={name: key for name in KEY_NAMES if (key := reading.secret(name))},
            preflight=reading.flag("PREFLIGHT", default=True),
            verify=reading.flag("VERIFY", default=True),
            roll_back=reading.flag("ROLLBACK", default=True),
            soak_minutes=reading.number("SOAK_MINUTES", 0.0),
            minutes=reading.number("DEPLOY_MINUTES", MINUTES),
            settle_seconds=reading.number("SETTLE_SECONDS", SETTLE_SECONDS),
            patience=Patience(poll=reading.number("DEPLOY_POLL_SECONDS", POLL_SECONDS)),
        )
        faults = [*reading.faults, *options.faults()]
        if faults:
            raise OptionsError("This cannot be deployed:\n" + "\n".join(f"  - {fault}" for fault in faults))
        return options

    def faults(self) -> list[str]:
        """Return what is missing or cannot be used."""
        found = []
        if self.api_key is None and self.hook is None:
            found.append(
                "RENDER_API_KEY is not set: make a key in Render's dashboard (Account Settings, API Keys) and put it into "
                "the environment, or into a file that RENDER_API_KEY_FILE names. RENDER_DEPLOY_HOOK does as well, without "
                "rolling back"
            )
        if self.api_key is not None and not self.service:
            found.append("SERVICE is not set, and render.yaml names none: make deploy SERVICE=NAME")
        if self.hook is not None and not re.fullmatch(
            r"https?://[^/\s]+/deploy/[^/\s?]+\?\S*key=\S+", self.hook
        ):
            found.append("RENDER_DEPLOY_HOOK is no deploy hook: copy it whole from the service's Settings")
        for name, address in (("RENDER_HOST", self.host), ("URL", self.url)):
            if address and not re.fullmatch(r"https?://[^/\s]+\S*", address):
                found.append(f"{name} is no address: write https://HOST")
        return found + (self._faults_of_a_hook() if self.by_hook else [])

    def _faults_of_a_hook(self) -> list[str]:
        """Return the facts that a hook needs in advance: it cannot be asked for them."""
        found = []
        if not self.url:
            found.append("URL is not set: with a deploy hook, say where the service answers (URL=https://…)")
        if self.verify and (missing := [name for name in KEY_NAMES if name not in self.keys]):
            found.append(
                f"{', '.join(missing)} not set: copy them from the service's Environment page, or give VERIFY=no"
            )
        return found

    @property
    def by_hook(self) -> bool:
        """Whether all there is is a deploy hook."""
        return self.api_key is None and self.hook is not None

    @property
    def secrets(self) -> list[str]:
        """Return everything that nobody may see."""
        hook_keys = parse_qs(urlsplit(self.hook).query).get("key", []) if self.hook else []
        given = [self.api_key, self.hook, *hook_keys, *self.keys.values()]
        return [secret for secret in given if secret]
