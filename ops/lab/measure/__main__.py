"""`python -m ops.lab.measure latency | million | fairness | scrape`: measures an appliance."""

from __future__ import annotations

import argparse
import os
import sys

from ops.address import key_file, local_address
from ops.http_call import answer_or_none
from ops.lab.measure.appliance import Appliance, MeasureError
from ops.lab.measure.fairness import measure_fairness
from ops.lab.measure.latency import measure_latency
from ops.lab.measure.million import measure_million
from ops.lab.measure.scrape import measure_scrape
from shared.errors import ShapboxError
from shared.settings import Settings


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ops.lab.measure", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    latency = kinds.add_parser("latency", help="POST /v1/explain of one row, beside a bare XGBoost process")
    latency.add_argument("--requests", type=int, default=1000)
    million = kinds.add_parser("million", help="one huge job as NPY and CSV: memory and progress")
    million.add_argument("--rows", type=int, default=1_000_000)
    fairness = kinds.add_parser(
        "fairness", help="one row beside one huge job, and the huge job beside small ones"
    )
    fairness.add_argument("--rows", type=int, default=1_000_000)
    scrape = kinds.add_parser("scrape", help="GET /metrics on both ports, beside one huge job")
    scrape.add_argument("--rows", type=int, default=1_000_000)
    scrape.add_argument("--scrapes", type=int, default=200)
    for kind in (latency, million, fairness, scrape):
        kind.add_argument("--model", default="breast-cancer")
    options = parser.parse_args()
    try:
        appliance = _appliance(Settings.from_environment(os.environ))
        if options.kind == "latency":
            measure_latency(appliance, options.model, options.requests)
        elif options.kind == "million":
            measure_million(appliance, options.model, options.rows)
        elif options.kind == "scrape":
            token = _key(appliance.settings.metrics_token, appliance.settings, "METRICS_TOKEN")
            measure_scrape(appliance, options.model, options.rows, options.scrapes, token)
        else:
            measure_fairness(appliance, options.model, options.rows)
    except (MeasureError, ShapboxError, OSError) as fault:
        print(f"measure: {fault}", file=sys.stderr)
        return 1
    return 0


def _appliance(settings: Settings) -> Appliance:
    url = local_address(settings)
    if answer_or_none(f"{url}/readyz") is None:
        raise MeasureError(f"Nothing answers at {url}: start one with `make run` in another terminal.")
    return Appliance(url, _key(settings.api_key, settings, "API_KEY"), settings)


def _key(given: str | None, settings: Settings, name: str) -> str:
    path = key_file(settings, os.environ, name)
    return given or (path.read_text(encoding="ascii").strip() if path else "")


if __name__ == "__main__":
    sys.exit(main())
