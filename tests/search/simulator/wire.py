"""The way to Redis: each round trip is one step, at which the history's faults may strike."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import redis
from redis.connection import UnixDomainSocketConnection

from tests.search.simulator.world import Killed, Process, Task, World

#: Seconds of a round trip: usually, and when something holds it up.
QUICK, SLOW = 0.0004, 0.03


class Strike(Enum):
    """A fault at one round trip."""

    NONE = "none"
    KILL_BEFORE = "killed before the command arrives"
    KILL_AFTER = "killed before the answer arrives"
    CUT_BEFORE = "connection lost before the command arrives"
    CUT_AFTER = "connection lost before the answer arrives"
    CUT_WITHIN = "connection lost within the commands"


@dataclasses.dataclass(eq=False)
class _Blocked:
    """A client that waits in BLPOP."""

    connection: SimulatedConnection
    task: Task
    keys: Sequence[Any]
    reply: Any = None


class Network:
    """All connections. `strike` decides on faults, `watch` sees each executed command."""

    def __init__(
        self,
        world: World,
        strike: Callable[[Process, Sequence[Any]], Strike],
        watch: Callable[[Process, Sequence[Any], Any], None],
        describe: Callable[[Sequence[Any]], str],
        set_clock: Callable[[], None],
    ) -> None:
        self.world = world
        self.strike = strike
        self.watch = watch
        self.describe = describe
        self.set_clock = set_clock
        #: Every connection of the history, to close at its end.
        self.connections: list[SimulatedConnection] = []
        self.down_until = 0.0
        #: Counts Redis's starts: connections of an earlier one are dead.
        self.starts = 0
        self.blocked: list[_Blocked] = []

    def reaches(self, process: Process) -> bool:
        """Return whether a process reaches Redis now."""
        return self.world.now >= max(self.down_until, process.cut_off_until)

    def restart(self, seconds: float) -> None:
        """Restart Redis, which takes so long."""
        self.starts += 1
        self.down_until = self.world.now + seconds
        self.drop_blocked(lambda _process: True)

    def drop_blocked(self, concerns: Callable[[Process], bool]) -> None:
        """End the waits in BLPOP of some processes, whose connections are lost."""
        for blocked in list(self.blocked):
            if concerns(blocked.task.process):
                self.blocked.remove(blocked)
                self.world.wake(blocked.task)

    def serve_blocked(self) -> None:
        """Hand new entries to those who wait for them, as Redis does in the same step."""
        for blocked in list(self.blocked):
            if not blocked.task.process.alive:
                self.blocked.remove(blocked)
            elif (reply := blocked.connection.pop(blocked.keys)) is not None:
                blocked.reply = reply
                self.blocked.remove(blocked)
                self.world.say(f"BLPOP of {blocked.task.process} returns {reply[1]!r}")
                self.world.wake(blocked.task, QUICK)


#: The network of the history that runs.
_networks: list[Network] = []


def use_network(network: Network | None) -> None:
    """Set the network that new connections belong to."""
    _networks[:] = [] if network is None else [network]


class SimulatedConnection(UnixDomainSocketConnection):
    """A connection to the real server; the network delays and loses what it sends."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._network = _networks[0]
        self._network.connections.append(self)
        self._start = 0
        self._greeting = False
        self._commands: list[Sequence[Any]] | None = None
        self._replies: deque[Any] = deque()

    # --- Calls of redis-py ---

    def on_connect_check_health(self, check_health: bool = True) -> None:  # noqa: FBT001, FBT002
        """Greet the server: that is no step of its own."""
        self._start, self._greeting = self._network.starts, True
        try:
            super().on_connect_check_health(check_health=check_health)
        finally:
            self._greeting = False

    def _connect(self) -> Any:
        if not self._network.world.task.process.alive:
            raise Killed
        if not self._network.reaches(self._network.world.task.process):
            raise ConnectionRefusedError("Redis is out of reach")
        return super()._connect()

    def pack_commands(self, commands: Any) -> Any:
        """Note a pipeline's commands before they are sent."""
        self._commands = list(commands)
        return super().pack_commands(self._commands)

    def send_command(self, *args: Any, **options: Any) -> None:
        """Note a command before it is sent."""
        self._commands = [args]
        super().send_command(*args, **options)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002
        """Make the round trip: the replies are there when it returns."""
        commands, self._commands = self._commands, None
        if not self._sock:
            self.connect_check_health(check_health=False)
        if self._greeting:
            super().send_packed_command(command, check_health)
            return
        assert commands is not None
        self._replies.clear()
        self._round_trip(commands)

    def can_read(self, timeout: float = 0) -> bool:
        """Return whether the server has closed the connection, or a reply is left."""
        del timeout
        if self._start != self._network.starts:  # redis-py connects before it asks
            raise redis.ConnectionError("Connection closed by server.")
        return bool(self._replies)

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return or raise the next reply."""
        if self._greeting:
            return super().read_response(*args, **options)
        if not self._replies:
            self._lose("no reply")
        reply = self._replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        return reply

    # --- The round trip ---

    def _round_trip(self, commands: list[Sequence[Any]]) -> None:
        network, world = self._network, self._network.world
        world.wait(QUICK * (0.5 + world.rng.random()) if world.rng.random() > 0.03 else SLOW)
        process = world.task.process
        strike = network.strike(process, commands)
        if not process.alive:
            raise Killed
        if not network.reaches(process) or self._start != network.starts:
            world.say(f"{network.describe(commands[0])} !! Redis is out of reach")
            self._lose("Redis is out of reach")
        network.set_clock()
        if strike is Strike.KILL_BEFORE:
            world.say(f"{network.describe(commands[0])} !! {strike.value}")
            world.exit(process, None)
        if strike is Strike.CUT_BEFORE:
            world.say(f"{network.describe(commands[0])} !! {strike.value}")
            self._lose(strike.value)
        if strike is Strike.CUT_WITHIN:
            commands = commands[: world.rng.randrange(len(commands))]
        if commands and commands[0][0] == "BLPOP":
            self._block(commands[0])
        else:
            self._apply(commands)
        if strike is Strike.NONE:
            return
        world.say(f"!! {strike.value}")
        if strike is Strike.KILL_AFTER:
            world.exit(process, None)
        self._lose(strike.value)

    def _apply(self, commands: list[Sequence[Any]]) -> None:
        if not commands:
            return
        network, world = self._network, self._network.world
        UnixDomainSocketConnection.send_packed_command(
            self,
            self._command_packer.pack(*commands[0])
            if len(commands) == 1
            else super().pack_commands(commands),
        )
        for command in commands:
            try:
                reply = super().read_response()
            except redis.ResponseError as fault:
                reply = fault
            self._replies.append(reply)
            if world.trace is not None:
                world.say(f"{network.describe(command)} -> {_short(reply)}")
            network.watch(world.task.process, command, reply)
        if network.blocked and any("PUSH" in str(command[0]) for command in commands):
            network.serve_blocked()

    def _block(self, command: Sequence[Any]) -> None:
        network, world = self._network, self._network.world
        keys, timeout = command[1:-1], float(command[-1])
        reply = self.pop(keys)
        if reply is None:
            blocked = _Blocked(self, world.task, keys)
            network.blocked.append(blocked)
            try:
                world.wait(timeout, interruptible=True)
            finally:
                if blocked in network.blocked:
                    network.blocked.remove(blocked)
            reply = blocked.reply
            if self._start != network.starts or not network.reaches(world.task.process):
                self._lose("Redis is out of reach")
        if world.trace is not None:
            world.say(f"{network.describe(command)} -> {_short(reply)}")
        self._replies.append(reply)

    def pop(self, keys: Sequence[Any]) -> list[Any] | None:
        """Take the first entry of these lists, as BLPOP would without waiting."""
        super().send_packed_command(self._command_packer.pack("LMPOP", len(keys), *keys, "LEFT"))
        found = super().read_response()
        return None if found is None else [found[0], found[1][0]]

    def _lose(self, why: str) -> None:
        self._replies.clear()
        self.disconnect()
        raise redis.ConnectionError(f"simulated: {why}")


def _short(reply: Any) -> str:
    text = repr(reply)
    return text if len(text) <= 100 else f"{text[:97]}..."
