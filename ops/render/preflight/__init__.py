"""The checks before a deploy: all are made, and all faults are reported at once."""
