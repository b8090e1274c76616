"""Why and when a worker ends."""
