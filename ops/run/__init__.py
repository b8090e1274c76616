"""What the image runs: the start, supervision, the announcement and the health check."""
