"""The code that the image runs: start, supervision, announcement and health check."""
