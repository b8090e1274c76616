"""Deploys to Render: its API, its blueprint rules, and the checks before a deploy."""
