"""The Accept headers of a request: what is preferred, with its weights."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WEIGHT = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Preference:
    """One entry: a media range such as `text/*`, or an encoding, in lower case; weight from 0 to 1."""

    name: str
    weight: float


def parse_accept(header: str) -> list[Preference]:
    """Parse Accept or Accept-Encoding. An entry whose weight cannot be read is left out."""
    found = []
    for entry in header.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = "1"
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                weight = value.strip()
        if name and _WEIGHT.fullmatch(weight):
            found.append(Preference(name, float(weight)))
    return found


def accepts_gzip(accept_encoding: str | None) -> bool:
    """Tell whether a client that sent this Accept-Encoding asks for gzip."""
    weights = {entry.name: entry.weight for entry in parse_accept(accept_encoding or "")}
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0
