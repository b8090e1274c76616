"""Finds the appliance and its keys: that of this machine, or a remote one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ops.address import key_file, local_address
from ops.verify.options import Progress, Silent, VerifyOptions
from shared.errors import SettingsError
from shared.settings import KEY_NAMES, Settings

#: Variables that hold for a remote appliance: this machine's other settings say nothing of it.
_REMOTE = (*KEY_NAMES, "MODELS_DIR")
_REMOTE_KEYS = (
    "set API_KEY, ADMIN_API_KEY and METRICS_TOKEN, or API_KEY_FILE and so on, to that service's own."
)
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class VerifyPlace:
    """A person's choice. Without `url` the appliance of this machine is meant."""

    url: str | None = None
    expect_commit: str | None = None
    soak_minutes: float = 0.0
    progress: Progress | None = None


def options_for(place: VerifyPlace, environment: Mapping[str, str]) -> VerifyOptions:
    """Find address and keys. Raises SettingsError for a fault, or if nothing could be checked."""
    commit = (place.expect_commit or "").lower() or None
    if commit and not _COMMIT.fullmatch(commit):
        raise SettingsError(
            f"EXPECT_COMMIT={place.expect_commit!r} is no commit: give 7 to 40 digits of its SHA."
        )
    url, settings, keys = _remote(place.url, environment) if place.url else _here(environment)
    if not keys["API_KEY"] and not keys["ADMIN_API_KEY"]:
        remedy = (
            _REMOTE_KEYS
            if place.url
            else f"set DATA_DIR to its folder; there are none in {settings.keys_dir}."
        )
        raise SettingsError(f"Without its keys hardly anything of {url} can be checked: {remedy}")
    return VerifyOptions(
        url=url,
        api_key=keys["API_KEY"],
        admin_api_key=keys["ADMIN_API_KEY"],
        metrics_token=keys["METRICS_TOKEN"],
        expect_commit=commit,
        soak_minutes=place.soak_minutes,
        models_dir=settings.models_dir,
        progress=place.progress or Silent(),
    )


type _Found = tuple[str, Settings, dict[str, str | None]]


def _remote(url: str, environment: Mapping[str, str]) -> _Found:
    names = {name for setting in _REMOTE for name in (setting, f"{setting}_FILE")}
    settings = Settings.from_environment({name: environment[name] for name in names & environment.keys()})
    return checked_address(url), settings, _keys_of(settings)


def _here(environment: Mapping[str, str]) -> _Found:
    settings = Settings.from_environment(environment)
    keys = _keys_of(settings)
    for name in KEY_NAMES:
        path = key_file(settings, environment, name)
        if keys[name] is None and path is not None:
            keys[name] = _key_in(path)
    return local_address(settings), settings, keys


def _key_in(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as fault:
        raise SettingsError(
            f"The key in {path} cannot be read ({fault}): run this as the user who runs the appliance."
        ) from fault


def _keys_of(settings: Settings) -> dict[str, str | None]:
    return {name: getattr(settings, name.lower()) for name in KEY_NAMES}


def checked_address(url: str) -> str:
    """Return an address without a slash at its end. Raises SettingsError for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as fault:
        raise SettingsError(f"URL={url!r} is no address: {fault}.") from fault
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise SettingsError(f"URL={url!r} is no address: write https://NAME.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise SettingsError("URL must be an address alone: keys belong into API_KEY and the other settings.")
    return url.rstrip("/")
