"""Sets a machine up: uv brings Python and the packages, apt what uv cannot bring."""
