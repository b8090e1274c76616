"""Where the tests of integration find their Redis: tests/support/redis_server.py."""

from tests.support.redis_server import RedisServer, until

__all__ = ["RedisServer", "until"]
