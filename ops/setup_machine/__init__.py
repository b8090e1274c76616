"""Makes this machine ready for Shapbox, on any Python from 3.8 and its standard library."""
