"""The faults of one history: where they strike is drawn at each round trip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from shared.errors import StorageUnavailableError
from tests.search.simulator.site import Site
from tests.search.simulator.wire import QUICK, Network, Strike
from tests.search.simulator.world import UPTIME, Process, World, running_world

#: How many times likelier a fault strikes where a job's state changes: at these scripts, commands and accesses to the store.
HOT = {
    "release": 30,
    "complete": 25,
    "finish": 10,
    "claim": 8,
    "MULTI": 5,
    "BLPOP": 4,
    "write": 4,
    "delete_job": 4,
}
#: Faults of one message, and how often each is drawn.
MESSAGE_FAULTS = {
    Strike.KILL_BEFORE: 4,
    Strike.KILL_AFTER: 4,
    Strike.CUT_BEFORE: 3,
    Strike.CUT_AFTER: 9,
    Strike.CUT_WITHIN: 3,
}
#: Seconds that a process is held up: shorter and longer than a lease.
PAUSES = (0.5, 3.0, 11.0, 25.0, 60.0)
#: Seconds by which a clock is set: so much that leases, results and leftovers could expire.
JUMPS = (-3 * 3600.0, -60.0, -5.0, 5.0, 60.0, 3 * 3600.0)


class Faults:
    """Strikes at round trips until `budget` faults have been made or the time for them is over."""

    def __init__(
        self,
        world: World,
        sites: Sequence[Site],
        name_of: Callable[[Sequence[Any]], str],
        on_hold_up: Callable[[Process], None],
    ) -> None:
        rng = world.rng
        self._world = world
        self._sites = sites
        #: Names a command, or a script that it runs.
        self._name_of = name_of
        #: Called when a process is held up for longer than a lease.
        self._on_hold_up = on_hold_up
        self._rate = rng.choice((0.002, 0.005, 0.01))
        self.budget = rng.choice((1, 2, 3, 5, 8))
        self.until = UPTIME + rng.uniform(5, 25)
        self._storage_down_until = 0.0
        self._kinds: list[tuple[Callable[[Process], Strike], int]] = [
            *((lambda _process, strike=strike: strike, weight) for strike, weight in MESSAGE_FAULTS.items()),
            (self._pause_before, 5),
            (self._pause_after, 5),
            (self._cut_off, 4),
            (self._restart_redis, 2),
            (self._kill_another, 5),
            (self._stop_worker, 3),
            (self._set_clock, 2),
            (self._break_storage, 2),
        ]
        self.network: Network

    def strike(self, process: Process, commands: Sequence[Any]) -> Strike:
        """Draw what happens at this round trip."""
        world = self._world
        if not self.budget or world.now > self.until:
            return Strike.NONE
        if world.rng.random() >= self._rate * HOT.get(self._name_of(commands[0]), 1):
            return Strike.NONE
        self.budget -= 1
        kinds, weights = zip(*self._kinds, strict=True)
        made: Strike = world.rng.choices(kinds, weights)[0](process)
        return made

    def end(self) -> None:
        """Strike no more, and end what lasts."""
        self.budget = 0
        self._storage_down_until = 0.0

    def access_store[T](self, name: str, access: Callable[[], T]) -> T:
        """Access the object store: that is one step, at which faults strike as well."""
        world = running_world()
        process = world.task.process
        world.wait(QUICK * 4 * world.rng.random())
        strike = self.strike(process, [(name,)])
        if strike is Strike.KILL_BEFORE:
            world.exit(process, None)
        if strike in {Strike.CUT_BEFORE, Strike.CUT_WITHIN} or world.now < self._storage_down_until:
            world.say(f"store {name} !! fails")
            raise StorageUnavailableError("simulated: the store does not answer")
        done = access()
        world.say(f"store {name}")
        if strike is Strike.KILL_AFTER:
            world.exit(process, None)
        if strike is Strike.CUT_AFTER:
            raise StorageUnavailableError("simulated: the store's answer is lost")
        return done

    # --- Faults that are more than a lost message ---

    def _pause_before(self, process: Process) -> Strike:
        self._pause_after(process)
        self._world.wait(0)
        return Strike.NONE

    def _pause_after(self, process: Process) -> Strike:
        rng = self._world.rng
        seconds = rng.choice(PAUSES) * rng.uniform(0.8, 1.2)
        process.paused_until = self._world.now + seconds
        process.pause_shows = rng.random() < 0.5
        self._world.say(f"!! held up for {seconds:.1f} s{' by SIGSTOP' if process.pause_shows else ''}")
        self._on_hold_up(process)
        return Strike.NONE

    def _cut_off(self, process: Process) -> Strike:
        """Cut a process, or all of its machine, off from Redis."""
        rng = self._world.rng
        seconds = rng.choice(PAUSES[1:4])
        site = next((site for site in self._sites if site.machine is process.machine), None)
        with_machine = site is not None and not site.with_api and rng.random() < 0.7
        running = [slot.process for slot in site.slots] if site is not None and with_machine else [process]
        self._world.say(f"!! cut off from Redis for {seconds:.0f} s: {running}")
        for cut in filter(None, running):
            cut.cut_off_until = self._world.now + seconds
            self._on_hold_up(cut)
        self.network.drop_blocked(lambda owner: owner in running)
        return Strike.NONE

    def _restart_redis(self, _process: Process) -> Strike:
        seconds = self._world.rng.choice((0.1, 2.0, 8.0))
        self._world.say(f"!! Redis restarts within {seconds} s")
        self.network.restart(seconds)
        return Strike.NONE

    def _kill_another(self, _process: Process) -> Strike:
        slots = [slot for site in self._sites for slot in site.slots if slot.alive]
        victim = self._world.rng.choice(slots).process
        assert victim is not None
        self._world.kill(victim)
        return Strike.NONE

    def _stop_worker(self, _process: Process) -> Strike:
        site = self._world.rng.choice(self._sites)
        slot = self._world.rng.choice([slot for slot in site.slots if slot.group == "worker"])
        self._world.say(f"!! SIGTERM to {slot.name}")
        site.stop_worker(slot)
        return Strike.NONE

    def _set_clock(self, _process: Process) -> Strike:
        # Expiry of keys in Redis follows its clock: there is no other judge of a remote worker's silence.
        site = self._sites[-1]
        jump = self._world.rng.choice(JUMPS)
        self._world.say(f"!! the clock of {site.machine.name} is set by {jump:.0f} s")
        site.machine.skew += jump
        return Strike.NONE

    def _break_storage(self, _process: Process) -> Strike:
        seconds = self._world.rng.choice((0.5, 5.0, 20.0))
        self._world.say(f"!! the object store fails for {seconds} s")
        self._storage_down_until = self._world.now + seconds
        return Strike.NONE
