"""One container with the appliance, confined as in production: 512 MB, read-only."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.container.engine import DockerError, docker, docker_streams, docker_succeeds, memory_stats
from ops.reached import Reached

#: The image's name, and the memory of Render's Starter plan, which the container is made for.
IMAGE, MEMORY_MB = "shapbox", 512
#: The port inside the container.
INNER_PORT = 10000
#: Seconds that a stop may take before the engine kills: more than the appliance's own 25.
STOP_SECONDS = 30
#: Seconds for the first start on a busy machine.
READY_SECONDS = 120.0
#: The container's rights: nothing that needs a privilege, and writing only where it must.
CONFINED = (
    "--read-only",
    "--tmpfs=/tmp:size=16m",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    f"--stop-timeout={STOP_SECONDS}",
)
#: Prints the file that counts what the kernel has killed for memory, of either cgroup version.
OOM_COUNTS = "cd /sys/fs/cgroup; cat memory.events 2>/dev/null || cat memory/memory.oom_control"


@dataclass(slots=True)
class Box(Reached):
    """A container by its name, not started yet; `options` are further words of `docker run`."""

    name: str
    port: int
    volume: str
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    memory_mb: int = MEMORY_MB
    image: str = IMAGE
    _keys: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:  # type: ignore[override]  # a box's address follows from its port
        """Where the published port answers."""
        return f"http://127.0.0.1:{self.port}"

    def run(self) -> None:
        """Make the container and start it."""
        named = [word for name in self.environment for word in ("-e", name)]
        docker(
            "run",
            "--detach",
            f"--name={self.name}",
            f"--memory={self.memory_mb}m",
            f"--memory-swap={self.memory_mb}m",
            *CONFINED,
            f"--volume={self.volume}:/data",
            f"--publish=127.0.0.1:{self.port}:{INNER_PORT}",
            *named,
            *self.options,
            self.image,
            environment=self.environment,
        )

    def await_ready(self, seconds: float = READY_SECONDS) -> float:
        """Wait until it can take work; return the seconds that took. Fails with the log's tail."""
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            if self.is_ready():
                return passed
            state = self.state()
            if not state["Running"] or state["RestartCount"]:
                raise DockerError(f"The container ended by itself:\n{self.log_tail()}")
            time.sleep(0.05)
        raise DockerError(f"The container is not ready after {seconds:.0f} s:\n{self.log_tail()}")

    def stop(self) -> float:
        """Stop it in order, as a deploy does; return the seconds that took."""
        started = time.monotonic()
        docker("stop", self.name)
        return time.monotonic() - started

    def remove(self, *, with_data: bool = False) -> None:
        """Remove the container, running or not, and its volume if asked for."""
        docker_succeeds("rm", "--force", self.name)
        if with_data:
            docker_succeeds("volume", "rm", "--force", self.volume)

    def exec(self, *words: str) -> str:
        """Run a command inside; return what it prints."""
        return docker("exec", self.name, *words)

    def state(self) -> dict[str, Any]:
        """Return the engine's state of it: Running, ExitCode, OOMKilled, RestartCount, Health."""
        found = json.loads(docker("inspect", self.name))[0]
        return {**found["State"], "RestartCount": found["RestartCount"], "Id": found["Id"]}

    def log(self) -> str:
        """Return all that it has printed, on both outputs."""
        return docker_streams("logs", self.name)

    def key(self, name: str) -> str:
        """Return a key: as it was set, or as boot made it once for the volume."""
        key = self.environment.get(name) or self._keys.get(name)
        if key is None:
            key = self._keys[name] = self.exec("cat", f"/data/keys/{name}").strip()
        return key

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed for memory since the start."""
        found = re.search(r"^oom_kill (\d+)", self.exec("sh", "-c", OOM_COUNTS), re.MULTILINE)
        if found is None:
            raise DockerError("The container's memory cgroup cannot be read.")
        return int(found[1])

    def working_set_bytes(self) -> int:
        """Return the bytes that the kernel charges it for, less what it can drop. Raises OSError."""
        memory = memory_stats(self.name)
        details = memory["stats"]
        return int(memory["usage"]) - int(details.get("total_inactive_file", details.get("inactive_file", 0)))
