"""Bugs that can be planted in the product, to see that the simulator finds them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from shared.jobs import transitions

#: By name: the script, and what is replaced by what in it.
BUGS = {
    # A monitor with an outdated view takes a batch from its new holder.
    "release-without-compare": (
        "release",
        "if redis.call('HGET', 'shapbox:running', field) ~= holder then return 'changed' end",
        "if redis.call('HEXISTS', 'shapbox:running', field) == 0 then return 'changed' end",
    ),
    # A batch that ran twice is counted twice.
    "completion-counts-twice": (
        "complete",
        "if redis.call('SREM', 'shapbox:todo:' .. id, batch) == 0 then return 'repeated' end",
        "redis.call('SREM', 'shapbox:todo:' .. id, batch)",
    ),
    # A worker that was given up renews its lease of a batch that another one holds by now.
    "lease-renewed-by-the-dead": (
        "claim",
        "if holds.owner ~= owner or holds.token ~= token then return 'taken' end",
        "if false then return 'taken' end",
    ),
}


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """Have the scripts contain a bug."""
    if name is None:
        yield
        return
    script, right, wrong = BUGS[name]
    source = transitions._source

    def broken(asked: str) -> str:
        text = source(asked)
        if asked != script:
            return text
        assert text.count(right) == 1, f"{script}.lua has changed: plant the bug anew"
        return text.replace(right, wrong)

    with mock.patch.object(transitions, "_source", broken):
        yield
