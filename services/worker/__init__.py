"""The worker: explains one batch at a time."""
