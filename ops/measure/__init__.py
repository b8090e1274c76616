"""Measurements of a running appliance, for docs/benchmarks.md: `python -m ops.measure latency | million | fairness | scrape`."""
