"""Makes this machine ready for Shapbox. Runs on any Python from 3.8, with the standard library alone."""
