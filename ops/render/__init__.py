"""Render as we use it: its API, the rules of its blueprints, checks before a deploy, and the deploy."""
