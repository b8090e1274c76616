"""Render as we use it: its API, and the rules of its blueprints."""
