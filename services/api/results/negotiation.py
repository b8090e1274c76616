"""Which writer writes a result, by the request's Accept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from services.api.results.accept_header import Preference, parse_accept
from services.api.results.csv_result import write_csv
from services.api.results.interaction_writers import (
    measure_npy_matrices,
    write_json_with_interactions,
    write_ndjson_with_interactions,
    write_npy_matrices,
)
from services.api.results.json_result import write_json
from services.api.results.ndjson_result import write_ndjson
from services.api.results.npy_result import measure_npy, write_npy
from shared.errors import NotAcceptableError
from shared.interactions import Interactions


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes one media type. `measure` tells the Content-Length (before gzip) where it is known beforehand."""

    media_type: str
    write: Callable[[Any], Iterator[bytes]]
    measure: Callable[[Any], int] | None = None


#: In the order of preference where the client has none.
WRITERS = (
    Writer("application/json", write_json),
    Writer("text/csv", write_csv),
    Writer("application/x-ndjson", write_ndjson),
    Writer("application/x-npy", write_npy, measure_npy),
)
#: The same for results with interactions. CSV has no place for them, and pairs are no array.
PAIR_WRITERS = (
    Writer("application/json", write_json_with_interactions),
    Writer("application/x-ndjson", write_ndjson_with_interactions),
)
MATRIX_WRITERS = (*PAIR_WRITERS, Writer("application/x-npy", write_npy_matrices, measure_npy_matrices))


@functools.lru_cache(maxsize=16)
def choose_writer(accept: str | None, interactions: Interactions | None = None) -> Writer:
    """Choose the writer of a result, which takes ResultPages, or InteractionPages if there are interactions.

    Raises what `choose_media_type` raises.
    """
    writers: tuple[Writer, ...] = WRITERS
    what = "A result"
    if interactions is not None:
        writers = MATRIX_WRITERS if interactions.top_pairs is None else PAIR_WRITERS
        what = (
            "A result with interactions (its values alone can, under /v1/jobs/ID/result?interactions=false)"
        )
    media_type = choose_media_type(accept, [writer.media_type for writer in writers], what)
    return next(writer for writer in writers if writer.media_type == media_type)


def choose_media_type(accept: str | None, known: Sequence[str], what: str) -> str:
    """Choose the media type with the highest weight; of equals the one named most closely, then the first known.

    Raises NotAcceptableError, listing what can be written, where nothing fits.
    """
    if not accept or not accept.strip():
        return known[0]
    preferences = parse_accept(accept)
    best = max(known, key=lambda media_type: _rate(media_type, preferences))
    if _rate(best, preferences)[0] <= 0:
        raise NotAcceptableError(
            f"{what} cannot be written as {accept[:80]!r}: ask for one of {', '.join(known)}."
        )
    return best


def _rate(media_type: str, preferences: list[Preference]) -> tuple[float, int]:
    """Return the weight that the closest entry gives, and how close it is."""
    ranges = ("*/*", media_type.partition("/")[0] + "/*", media_type)
    rated = [(ranges.index(entry.name), entry.weight) for entry in preferences if entry.name in ranges]
    closeness, weight = max(rated, default=(-1, 0.0))
    return weight, closeness
