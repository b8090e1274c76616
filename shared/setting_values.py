"""Parsers of settings' values. Each raises ValueError with the reason and the fix."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network

from shared.network import network

#: A shorter key can be guessed.
SHORTEST_KEY = 16
STORAGE_SCHEMES = ("s3", "gs", "az", "file", "http", "https")
#: The first segments of the api's own paths, which a prefix must not begin with.
OWN_SEGMENTS = frozenset({"console", "docs", "healthz", "metrics", "openapi.json", "readyz", "v1", "version"})
MAX_PREFIX = 100
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

#: Segments of letters that need no quotes anywhere, and neither `.` nor `..`.
_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")

type Networks = tuple[IPv4Network | IPv6Network, ...]


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers between two bounds."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def hours(text: str) -> float:
    """Parse a number of hours, up to a year."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number <= 24 * 365:
        raise ValueError(f"{text!r} is not a number of hours above 0 and up to a year")
    return number


def flag(text: str) -> bool:
    """Parse true or false."""
    if text.lower() not in TRUE + FALSE:
        raise ValueError(f"{text!r} is neither true nor false")
    return text.lower() in TRUE


def member_of[E: StrEnum](choices: type[E]) -> Callable[[str], E]:
    """Return a parser of an enumeration's values."""
    return lambda text: choices(_one_of(text, *choices))


def log_level(text: str) -> str:
    """Parse a level of logging."""
    return _one_of(text.upper(), "DEBUG", "INFO", "WARNING", "ERROR")


def _one_of(text: str, *choices: str) -> str:
    if text not in choices:
        raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
    return text


def key(text: str) -> str:
    """Parse a key or token."""
    if len(text) < SHORTEST_KEY:
        raise ValueError(
            f"a key has at least {SHORTEST_KEY} characters; unset it to have one generated at boot"
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a key consists of printable ASCII characters without spaces")
    return text


def storage_url(text: str) -> str:
    """Parse the address of an object store."""
    scheme, _, rest = text.partition("://")
    if scheme not in STORAGE_SCHEMES:
        schemes = ", ".join(f"{scheme}://" for scheme in STORAGE_SCHEMES)
        raise ValueError(f"the address must start with one of {schemes}")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError("the folder needs an absolute path: write file:///path/of/the/folder")
    elif rest.startswith("/") or not rest:
        raise ValueError(f"the address names no bucket: write {scheme}://BUCKET or {scheme}://BUCKET/FOLDER")
    return text


def url_prefix(text: str) -> str:
    """Parse the path before the api's own paths; return it without a slash at its end."""
    prefix = text.rstrip("/")
    if not prefix:
        return ""
    if len(prefix) > MAX_PREFIX or not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f"{text[:MAX_PREFIX]!r} is not a path such as /shap, of letters, digits and - . _ ~, and at most "
            f"{MAX_PREFIX} characters"
        )
    if (first := prefix.split("/")[1]) in OWN_SEGMENTS:
        raise ValueError(f"/{first} is a path of the api itself: choose another one")
    return prefix


def networks(text: str) -> Networks:
    """Parse networks, separated by commas."""
    if text == "none":
        return ()
    try:
        return tuple(network(part.strip()) for part in text.split(","))
    except ValueError as fault:
        raise ValueError(
            f"{fault}: write addresses or networks such as 10.0.0.0/8, separated by commas, or none"
        ) from fault
