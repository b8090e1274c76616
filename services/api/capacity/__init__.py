"""Is there room on the disk, and room kept for results."""
