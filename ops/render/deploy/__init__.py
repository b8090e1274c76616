"""Puts this commit on Render, watches it, verifies it, and takes it back if it is no good."""
