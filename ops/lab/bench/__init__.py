"""Measures the cost of explanations next to named peers: `python -m ops.lab.bench`."""
