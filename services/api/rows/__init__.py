"""Readers: a request's body in, chunks of float32 rows out, as a stream."""
