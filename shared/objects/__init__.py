"""Stored rows and results."""
