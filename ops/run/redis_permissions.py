"""The permissions that a user of Redis needs, and a check that REDIS_URL's user has them.

The commands are queued in a transaction that is dropped: Redis checks each for its command, keys and channels and carries none
out. `ACL DRYRUN` would need a permission of its own.
"""

from __future__ import annotations

import re
from typing import Any

from redis.exceptions import NoPermissionError, ResponseError

from shared.redis.connection import RedisClient

#: Commands of the api, the worker, the monitor and RQ, each with arguments that it can be queued with.
QUEUED = """
CLIENT INFO
CLIENT SETNAME boot
INFO server
PING
SELECT 0
TIME
SCAN 0
GET shapbox:{0}
GET rq:{0}
SET shapbox:{0} 1
SET rq:{0} 1
MGET shapbox:{0}
DEL shapbox:{0}
EXISTS shapbox:{0}
EXPIRE shapbox:{0} 1
PERSIST rq:{0}
HDEL shapbox:{0} field
HEXISTS rq:{0} field
HGET shapbox:{0} field
HGETALL shapbox:{0}
HINCRBY shapbox:{0} field 1
HINCRBYFLOAT shapbox:{0} field 1
HLEN shapbox:{0}
HMGET shapbox:{0} field
HSET shapbox:{0} field 1
BLPOP rq:{0} 1
LINDEX rq:{0} 0
LLEN rq:{0}
LPOP rq:{0}
LPOS rq:{0} member
LPUSH rq:{0} member
LRANGE rq:{0} 0 0
LREM rq:{0} 0 member
RPUSH rq:{0} member
SADD shapbox:{0} member
SCARD shapbox:{0}
SISMEMBER shapbox:{0} member
SMEMBERS shapbox:{0}
SREM shapbox:{0} member
ZADD shapbox:{0} 0 member
ZCARD shapbox:{0}
ZRANGE shapbox:{0} 0 0
ZRANGEBYSCORE shapbox:{0} 0 0
ZREM shapbox:{0} member
ZREMRANGEBYSCORE rq:{0} 0 0
ZREVRANGEBYLEX shapbox:{0} + -
ZSCORE rq:{0} member
XADD rq:{0} * field 1
EVALSHA {1} 0
SCRIPT EXISTS {1}
SCRIPT LOAD return
PUBLISH shapbox:ended message
SUBSCRIBE shapbox:ended
SUBSCRIBE rq:pubsub:{0}
UNSUBSCRIBE shapbox:ended
""".format("boot", "0" * 40)
#: Commands with parts, each of which is a permission of its own.
CONTAINERS = ("CLIENT", "SCRIPT")


def missing_permissions(client: RedisClient) -> list[str]:
    """Return what the user lacks, as `ACL SETUSER` would grant it.

    Raises RedisError as the client does.
    """
    connection: Any = client.connection_pool.get_connection()
    try:
        # Without a transaction, the rest would be carried out.
        return (
            _refused(connection, "WATCH shapbox:boot", "UNWATCH", "MULTI")
            or [*_refused(connection, *QUEUED.strip().splitlines()), *_refused(connection, "DISCARD")]
            or _refused(connection, "EXEC")
        )
    finally:
        connection.disconnect()  # which drops all that was queued
        client.connection_pool.release(connection)


def _refused(connection: Any, *lines: str) -> list[str]:
    """Send commands; return the permissions that are missing for them."""
    connection.send_packed_command(connection.pack_commands([line.split() for line in lines]))
    missing = []
    for line in lines:
        try:
            connection.read_response()
        except NoPermissionError as fault:
            missing.append(_permission(line.split(), str(fault)))
        except ResponseError:
            # Allowed, and refused for another reason, such as a full memory. Without a transaction, as behind some
            # proxies, nothing further may be sent.
            if line == "MULTI":
                raise
    return list(dict.fromkeys(missing))


def _permission(words: list[str], fault: str) -> str:
    """Return what ACL SETUSER calls the permission for a command, its key or its channel."""
    name = "|".join(words[:2] if words[0] in CONTAINERS else words[:1]).lower()
    if " run " in fault:
        return f"+{name}"
    mark = "&" if "channel" in fault else "~"
    return mark + re.sub("boot$", "*", words[1] if mark == "&" else f"{words[1].partition(':')[0]}:*")
