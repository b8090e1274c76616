"""Chaos: load and faults at once, and an account of every accepted row: `python -m ops.chaos`."""
