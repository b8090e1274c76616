"""Chaos: load and faults at once, and an account of every row: `python -m ops.lab.chaos`."""
