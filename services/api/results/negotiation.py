"""Content negotiation: the media types that a request accepts, and gzip for streams."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterable, Iterator

from shared.errors import NotAcceptableError

_WEIGHT = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)
#: zlib's level: numbers shrink little more above it, and take much longer.
_LEVEL = 4
#: zlib's window with a gzip header and trailer around it.
_GZIP_WINDOW = 31


def parse_accept(header: str) -> dict[str, float]:
    """Return the weights, 0 to 1, of Accept or Accept-Encoding by lower-case name.

    An entry whose weight cannot be read is left out.
    """
    found: dict[str, float] = {}
    for entry in header.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = "1"
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                weight = value.strip()
        if name and _WEIGHT.fullmatch(weight):
            found[name] = max(float(weight), found.get(name, 0.0))
    return found


@functools.lru_cache(maxsize=64)
def accepts_gzip(accept_encoding: str | None) -> bool:
    """Return whether a client that sent this Accept-Encoding asks for gzip."""
    weights = parse_accept(accept_encoding or "")
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


@functools.lru_cache(maxsize=64)
def acceptable(accept: str | None, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return the accepted media types by weight, then by closest entry, then in order.

    Raises NotAcceptableError if there is none.
    """
    weights = parse_accept(accept if accept and accept.strip() else "*/*")
    ratings = {media_type: _rate(media_type, weights) for media_type in known}
    accepted = [media_type for media_type in known if ratings[media_type][0] > 0]
    if not accepted:
        raise not_acceptable(accept, known, what)
    return tuple(sorted(accepted, key=ratings.__getitem__, reverse=True))


def not_acceptable(accept: str | None, known: Iterable[str], what: str) -> NotAcceptableError:
    """Return the error for a request that accepts none of the media types `known`."""
    return NotAcceptableError(
        f"{what} is not available as {(accept or '')[:80]!r}. Accept one of: {', '.join(known)}."
    )


def _rate(media_type: str, weights: dict[str, float]) -> tuple[float, int]:
    """Return the weight that the closest entry gives, and how close it is."""
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    for distance, entry in enumerate(ranges):
        if entry in weights:
            return weights[entry], -distance
    return 0.0, 0


def gzip_stream(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress chunks as they come, as one gzip member."""
    packer = zlib.compressobj(_LEVEL, wbits=_GZIP_WINDOW)
    for chunk in chunks:
        if packed := packer.compress(chunk):
            yield packed
    yield packer.flush()
