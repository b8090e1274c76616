"""Verification: every method of a model, on every engine, against a reference in float64."""
