"""A blueprint (render.yaml), held against Render's rules and ours before Render sees it.

Render's own validation needs a key, and knows nothing of Shapbox: that a Redis which evicts loses jobs, that DATA_DIR
must lie on the disk, which settings there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ops.render.blueprint_settings import check_settings
from ops.render.fault import Fault

#: The types of services.
TYPES = frozenset({"web", "pserv", "worker", "cron", "keyvalue"})
#: Names that Render reads no more, and what took their place.
OLD_NAMES = {"env": "runtime", "autoDeploy": "autoDeployTrigger", "pullRequestPreviewsEnabled": "previews"}
#: When Render may deploy by itself.
TRIGGERS = ("commit", "checksPass", "off")
#: Where no disk can be mounted; folders below them can.
NO_MOUNTS = frozenset({"/", "/opt", "/opt/render", "/opt/render/project", "/home", "/etc", "/etc/secrets"})
#: Seconds that Render can wait between SIGTERM and SIGKILL.
LEAST_SHUTDOWN, MOST_SHUTDOWN = 1, 300


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A file's services, by name, with every fault that was found in them."""

    path: Path
    services: Mapping[str, Mapping[str, Any]]
    faults: tuple[Fault, ...]

    @property
    def web_service(self) -> str | None:
        """The name of the service that answers the public, if there is one."""
        return next((name for name, one in self.services.items() if one.get("type") == "web"), None)


def read_blueprint(path: Path, root: Path) -> Blueprint:
    """Read a blueprint and check all of it; paths in it are taken from `root`."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return Blueprint(path, {}, (Fault(path.name, f"cannot be read: {error}", "Mend the file."),))
    listed = document.get("services") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        return Blueprint(path, {}, (Fault(path.name, "lists no services", "Begin it with `services:`."),))
    services = {str(one.get("name")): one for one in listed}
    faults = [*_name_faults(listed)]
    for name, service in services.items():
        faults += [Fault(name, what, remedy) for what, remedy in _service_faults(service, root)]
        faults += check_settings(name, service, services)
    return Blueprint(path, services, tuple(faults))


def _name_faults(listed: list[dict[str, Any]]) -> Iterator[Fault]:
    names = [one.get("name") for one in listed]
    for name in dict.fromkeys(names):
        if not isinstance(name, str) or not name:
            yield Fault("a service", "has no name", "Give it a name.")
        elif names.count(name) > 1:
            yield Fault(name, "is there twice", "Give each service a name of its own.")


def _service_faults(service: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str]]:
    """Give what is wrong with one service, each with its remedy."""
    kind = service.get("type")
    if kind not in TYPES:
        yield f"its type is {kind!r}", f"Use one of {', '.join(sorted(TYPES))}."
    for old, new in OLD_NAMES.items():
        if old in service:
            yield f"Render no longer reads {old}", f"Use {new}."
    if not isinstance(service.get("plan"), str):
        yield "it names no plan", "Write `plan: starter`."
    if kind == "keyvalue":
        yield from _key_value_faults(service)
    else:
        yield from _build_faults(service, root)
        yield from _life_faults(service)
        yield from _disk_faults(service)


def _key_value_faults(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if service.get("ipAllowList") != []:
        yield (
            "everybody in its ipAllowList reaches the Redis",
            "Write `ipAllowList: []`: private network only.",
        )
    if service.get("maxmemoryPolicy") != "noeviction":
        yield "its Redis evicts, and drops queued batches", "Write `maxmemoryPolicy: noeviction`."


def _build_faults(service: Mapping[str, Any], root: Path) -> Iterator[tuple[str, str]]:
    if service.get("runtime") != "docker":
        yield f"its runtime is {service.get('runtime')!r}", "Write `runtime: docker`."
        return
    for name, default, is_there in (
        ("dockerfilePath", "./Dockerfile", Path.is_file),
        ("dockerContext", ".", Path.is_dir),
    ):
        given = service.get(name, default)
        if not is_there(root / str(given)):
            yield f"{name} {given} is not there", "Name a path from the repository's folder on."


def _life_faults(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    trigger = service.get("autoDeployTrigger")
    if trigger is False:
        yield "autoDeployTrigger is an unquoted off, which YAML reads as false", "Write 'off' in quotes."
    elif trigger is not None and trigger not in TRIGGERS:
        yield f"autoDeployTrigger is {trigger!r}", f"Use one of {', '.join(TRIGGERS)}, in quotes."
    path = service.get("healthCheckPath")
    if service.get("type") == "web" and path != "/healthz":
        yield (
            f"its healthCheckPath is {path!r}",
            "Write `healthCheckPath: /healthz`: Render restarts what fails it.",
        )
    elif service.get("type") != "web" and path is not None:
        yield "only web services have a healthCheckPath", "Take it out."
    yield from _shutdown_faults(service)


def _shutdown_faults(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    seconds = service.get("maxShutdownDelaySeconds")
    if seconds is None:
        return
    if "disk" in service or service.get("plan") == "free":
        yield "maxShutdownDelaySeconds is refused on a free plan and beside a disk", "Take it out."
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int)
        or not LEAST_SHUTDOWN <= seconds <= MOST_SHUTDOWN
    ):
        yield f"maxShutdownDelaySeconds is {seconds!r}", f"Use {LEAST_SHUTDOWN} to {MOST_SHUTDOWN}."
    elif seconds < 30:
        yield (
            "it is killed before it has stopped",
            "Give maxShutdownDelaySeconds 30: stopping takes up to 25 s.",
        )


def _disk_faults(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "disk" not in service:
        return
    disk = service["disk"] if isinstance(service["disk"], dict) else {}
    if not disk.get("name"):
        yield "its disk has no name", "Give it one."
    mount, size = disk.get("mountPath"), disk.get("sizeGB")
    if not isinstance(mount, str) or not mount.startswith("/") or mount.rstrip("/") in NO_MOUNTS | {""}:
        yield f"a disk cannot be mounted on {mount!r}", "Write `mountPath: /data`."
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        yield f"its disk's sizeGB is {size!r}", "Use a whole number from 1 on."
    if service.get("plan") == "free":
        yield "a free plan has no disk", "Write `plan: starter`."
    if service.get("numInstances", 1) != 1 or "scaling" in service:
        yield "a service with a disk has one instance", "Take the disk out, as ops/render/scaled.yaml does."
