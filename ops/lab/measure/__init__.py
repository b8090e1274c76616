"""Measures a running appliance: latency, a million rows, fairness, scrapes."""
