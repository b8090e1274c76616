"""The appliance of all histories, and the faults that are made at its processes."""

from __future__ import annotations

import contextlib
import secrets
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import closing

import psutil

from ops.lab.trial_appliance import Appliance
from shapbox import Response
from shared.redis.connection import REDIS_AWAY, Patience, connect
from tests.search.rest.caller import Answer, Caller
from tests.support.faults.submitted import eventually, nothing_is_left


class Box:
    """One appliance. It restarts as a whole `restarts` times at most, since that takes seconds."""

    def __init__(self, appliance: Appliance, restarts: int) -> None:
        self.appliance = appliance
        self.caller = Caller(appliance)
        #: Makes the Idempotency-Keys of this run its own.
        self.run = secrets.token_hex(4)
        #: How many histories and faults there were, by name.
        self.counts: Counter[str] = Counter()
        self._restarts = restarts
        self._held: psutil.Process | None = None

    def kill(self, program: str) -> None:
        """Kill a program with SIGKILL as soon as it runs; it may just end from an earlier kill."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._program(program).kill()
        self._note(f"kill {program}")

    def hold(self, program: str) -> None:
        """Stop a program with SIGSTOP."""
        self._held = self._program(program)
        with contextlib.suppress(psutil.NoSuchProcess):
            self._held.suspend()
        self._note(f"hold {program}")

    def release(self) -> None:
        """Let the held program go on, if there is one and it was not killed."""
        if self._held is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self._held.resume()
            self.caller.note("released")
        self._held = None

    def may_restart(self) -> bool:
        """Return whether a restart of the whole is left, and take it."""
        self._restarts -= 1
        return self._restarts >= 0

    def restart(self, number: signal.Signals) -> None:
        """Stop the appliance in order, or kill it, and start it again on its folder."""
        self.release()
        self._note(f"restart by {number.name}")
        if number is signal.SIGKILL:
            self.appliance.kill()
        else:
            self.appliance.stop()
        self.appliance.start()

    def once(self, method: str, path: str, *, admin: bool) -> Answer:
        """Call a path that must answer also while other programs are away: only the api may be."""
        key = self.appliance.admin_key if admin else None

        def ask() -> Response | None:
            response = self.caller.attempt(method, path, key=key)
            refused = response is not None and response.status == 503 and path.startswith(("/v1", "/metrics"))
            return None if refused else response

        response = eventually(ask, self.appliance.log_tail)
        return Answer(response, 0)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        eventually(condition, self.appliance.log_tail)

    def check_nothing_is_left(self) -> None:
        """Fail unless no batch is held or waits, and no object of a job is left."""

        def nothing() -> bool:
            with contextlib.suppress(*REDIS_AWAY):
                return nothing_is_left(connection)
            return False

        with closing(connect(self.appliance.settings(), Patience.STEADY, name="search")) as connection:
            self.until(nothing)

    def _note(self, fault: str) -> None:
        self.counts[fault] += 1
        self.caller.note(fault)

    def _program(self, name: str) -> psutil.Process:
        """Return a running program, as soon as supervisord has started it again."""
        found: psutil.Process = eventually(
            lambda: self.appliance.programs().get(name), self.appliance.log_tail
        )
        return found
