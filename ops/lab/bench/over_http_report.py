"""The measurements over HTTP, as tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ops.lab.bench.bulk import BARE, Bulk
from ops.lab.bench.latency import Latency
from ops.lab.bench.over_http import OverHttp
from ops.lab.bench.services import OURS
from ops.lab.bench.tables import count, listed, short, table
from ops.lab.reference import EXACT


def over_http_report(found: OverHttp) -> str:
    """Return both tables, and where a peer is ahead of ours."""
    return "\n\n".join([latency_table(found.latencies), bulk_table(found.bulk), verdict(found)])


def latency_table(latencies: Sequence[Latency]) -> str:
    """Return p50 and p99 in ms, each as the median of the rounds with their lowest and highest."""
    head = ["rows", "sent as", "where", "service", "requests", "p50 ms", "p99 ms"]
    lines = []
    for each in latencies:
        percentiles = (_spread(*each.percentile(percent)) for percent in (50, 99))
        lines.append(
            [count(each.rows), each.kind, each.beside, each.service, count(each.requests), *percentiles]
        )
    return table(head, lines)


def bulk_table(bulk: Sequence[Bulk]) -> str:
    """Return rows a second with their spread, the factor to the bare processes, and MB."""
    bare = float(np.median(next(each.rates for each in bulk if each.service == BARE)))
    head = ["service", "sent as", "rows", "rows/s", "to bare", "PSS before, MB", "peak, MB", "apart"]
    lines = []
    for each in bulk:
        median = float(np.median(each.rates))
        lines.append(
            [
                each.service,
                each.kind,
                count(each.rows),
                _spread(median, min(each.rates), max(each.rates)),
                f"x {short(median / bare)}",
                *(f"{size / 1e6:.0f}" for size in (each.idle_bytes, each.peak_bytes)),
                f"{each.apart:.0e}" if each.service != BARE else "",
            ]
        )
    return table(head, lines)


def verdict(found: OverHttp) -> str:
    """Say where a peer is ahead of ours in the median of p50 or p99, or in rows a second."""
    ahead = []
    for ours in (each for each in found.latencies if each.service == OURS):
        for peer in found.latencies:
            if peer is not ours and (peer.rows, peer.kind, peer.beside) == (
                ours.rows,
                ours.kind,
                ours.beside,
            ):
                for percent in (50, 99):
                    own, other = ours.percentile(percent)[0], peer.percentile(percent)[0]
                    if other < own:
                        ahead.append(
                            f"{peer.service}, {count(ours.rows)} rows as {ours.kind}, {ours.beside}, p{percent}: "
                            f"{short(other)} to {short(own)} ms"
                        )
    rates = {(each.service, each.kind): float(np.median(each.rates)) for each in found.bulk}
    ahead += [
        f"{service}, {kind}: {short(rate)} to {short(rates[OURS, kind])} rows/s"
        for (service, kind), rate in rates.items()
        if rate > rates.get((OURS, kind), np.inf)
    ]
    nowhere = f"No peer is ahead of {OURS} anywhere in these tables."
    return listed("Where a peer is ahead:", ahead) or nowhere


def wrong_results(bulk: Sequence[Bulk]) -> list[str]:
    """Return whose values are not XGBoost's, in words."""
    return [
        f"{each.service}, {each.kind}: {each.apart:.1e} apart" for each in bulk if not each.apart <= EXACT
    ]


def _spread(median: float, low: float, high: float) -> str:
    return f"{short(median)} ({short(low)}-{short(high)})"
