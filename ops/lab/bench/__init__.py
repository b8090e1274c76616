"""Benchmarks: what an explanation costs, side by side in one run."""
