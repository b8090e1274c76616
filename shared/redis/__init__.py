"""The connection to Redis, its address and its memory."""
