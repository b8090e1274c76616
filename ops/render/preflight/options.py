"""A preflight's options: read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.render.patience import POLL_SECONDS, Patience
from ops.render.reading import OptionsError, Reading
from ops.render.transport import API_ADDRESS

#: Seconds that the image is at work.
IMAGE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class PreflightOptions:
    """The options. Secrets are kept out of the representation."""

    fallback_allowed: bool = False
    image: bool = True
    image_seconds: float = IMAGE_SECONDS
    service: str = ""
    api_key: str | None = field(default=None, repr=False)
    host: str = API_ADDRESS
    patience: Patience = field(default_factory=Patience)

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> PreflightOptions:
        """Read and check everything. Raises OptionsError."""
        reading = Reading(environment)
        options = cls(
            fallback_allowed=reading.flag("ALLOW_FALLBACK_MODEL", default=False),
            image=reading.flag("IMAGE", default=True),
            image_seconds=reading.number("IMAGE_SECONDS", IMAGE_SECONDS),
            service=reading.text("SERVICE", reading.text("RENDER_SERVICE")),
            api_key=reading.secret("RENDER_API_KEY"),
            host=reading.text("RENDER_HOST", API_ADDRESS),
            patience=Patience(poll=reading.number("DEPLOY_POLL_SECONDS", POLL_SECONDS)),
        )
        if reading.faults:
            raise OptionsError(
                "The preflight cannot be made:\n" + "\n".join(f"  - {fault}" for fault in reading.faults)
            )
        return options
