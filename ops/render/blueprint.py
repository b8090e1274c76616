"""Checks a blueprint (render.yaml) by rules of Render and of Shapbox.

Render's own validation needs a key, and knows nothing of Shapbox: that a Redis which evicts loses jobs, that DATA_DIR
must lie on the disk, which settings there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ops.render.options import ON
from shared.errors import SettingsError
from shared.settings import KEY_NAMES, SETTING_NAMES, Settings

TYPES = ("web", "pserv", "worker", "cron", "keyvalue")
#: When Render may deploy by itself.
TRIGGERS = ("commit", "checksPass", "off")
#: Where a variable's value can come from: exactly one of them.
SOURCES = ("value", "generateValue", "sync", "fromService", "fromDatabase")
#: Names beside the settings: the image's user, and what an object store is reached with.
OTHER_NAMES = ("SHAPBOX_BOOT_USER", "AWS_", "GOOGLE_", "AZURE_")
#: Words in the names of values that must not be in a file that everybody reads.
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
#: Values that boot would take, instead of those that only Render knows.
EXAMPLES = {"REDIS_URL": "redis://host:6379", "STORAGE_URL": "s3://bucket/folder"} | {
    name: f"a-generated-{name.lower()}" for name in KEY_NAMES
}
#: The setting that allows placeholders for broken models.
ALLOWS = "ALLOW_FALLBACK_MODEL"
#: Seconds that Render gives a service to stop: at least what Shapbox takes, at most what Render allows.
LEAST_STOP, MOST_STOP = 30, 300

type Service = Mapping[str, Any]
#: A rule that is broken or not, what is wrong then, and the remedy.
type Rule = tuple[bool, str, str]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that will not work on Render: where, what, and what to do about it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A file's services, by name, with every fault that was found in them."""

    path: Path
    services: Mapping[str, Service]
    faults: tuple[Fault, ...]

    @property
    def web_service(self) -> str | None:
        """The name of the service that answers the public, if there is one."""
        return next((name for name, one in self.services.items() if one.get("type") == "web"), None)

    def variables(self, name: str | None) -> dict[str, str]:
        """Return the variables of a service whose values the file states."""
        return _values(_items(self.services.get(name or "", {})) or [])


def read_blueprint(path: Path, root: Path, *, fallback_allowed: bool = False) -> Blueprint:
    """Read a blueprint and check all of it; paths in it are taken from `root`."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return Blueprint(path, {}, (Fault(path.name, f"cannot be read: {error}", "Correct the file."),))
    listed = document.get("services") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        return Blueprint(path, {}, (Fault(path.name, "lists no services", "Begin it with `services:`."),))
    services = {str(one.get("name") or ""): one for one in listed}
    found = []
    if len(services) < len(listed) or "" in services:
        found.append(Fault(path.name, "two services have the same name, or none", "Name each service."))
    for name, service in services.items():
        rules = [*_service_rules(service, root), *_variable_rules(service, fallback_allowed=fallback_allowed)]
        found += [Fault(name, what, remedy) for broken, what, remedy in rules if broken]
    return Blueprint(path, services, tuple(found))


def _service_rules(service: Service, root: Path) -> Iterator[Rule]:
    kind, runtime = service.get("type"), service.get("runtime")
    yield kind not in TYPES, f"its type is {kind!r}", f"Use one of {', '.join(TYPES)}."
    yield not isinstance(service.get("plan"), str), "it names no plan", "Write `plan: starter`."
    if kind == "keyvalue":
        closed, evicts = service.get("ipAllowList") == [], service.get("maxmemoryPolicy") != "noeviction"
        yield not closed, "everybody in its ipAllowList reaches the Redis", "Write `ipAllowList: []`."
        yield evicts, "its Redis evicts, and drops queued batches", "Write `maxmemoryPolicy: noeviction`."
        return
    yield runtime != "docker", f"its runtime is {runtime!r}", "Write `runtime: docker`."
    for field, default in (("dockerfilePath", "Dockerfile"), ("dockerContext", ".")):
        path = service.get(field, default)
        remedy = "Give a path relative to the repository's folder."
        yield not (root / str(path)).exists(), f"{field} {path} does not exist", remedy
    yield from _deploy_rules(service)
    if "disk" in service:
        yield from _disk_rules(service)


def _deploy_rules(service: Service) -> Iterator[Rule]:
    """Check when a service is deployed, and how it starts and stops."""
    trigger, path = service.get("autoDeployTrigger"), service.get("healthCheckPath")
    what = f"autoDeployTrigger is {trigger!r}" + (
        " (YAML reads an unquoted off as false)" * (trigger is False)
    )
    yield trigger not in TRIGGERS, what, f"Use one of {', '.join(TRIGGERS)}, in quotes."
    wanted = "/healthz" if service.get("type") == "web" else None
    remedy = "Write `healthCheckPath: /healthz` for a web service; others have none."
    yield path != wanted, f"its healthCheckPath is {path!r}", remedy
    seconds = service.get("maxShutdownDelaySeconds", LEAST_STOP)
    refused = "maxShutdownDelaySeconds" in service and ("disk" in service or service.get("plan") == "free")
    yield refused, "maxShutdownDelaySeconds is refused on a free plan and beside a disk", "Remove it."
    wrong = not _is_whole(seconds, LEAST_STOP, MOST_STOP)
    remedy = f"Use {LEAST_STOP} to {MOST_STOP}: a stop takes 25 s."
    yield wrong, f"maxShutdownDelaySeconds is {seconds!r}", remedy


def _disk_rules(service: Service) -> Iterator[Rule]:
    disk = service["disk"] if isinstance(service["disk"], dict) else {}
    size, values = disk.get("sizeGB"), _values(_items(service) or [])
    yield not disk.get("name"), "its disk has no name", "Give it one."
    yield not _is_whole(size, 1), f"its disk's sizeGB is {size!r}", "Use a whole number from 1."
    yield service.get("plan") == "free", "a free plan has no disk", "Write `plan: starter`."
    several = service.get("numInstances", 1) != 1 or "scaling" in service
    yield several, "a service with a disk has one instance", "See ops/render/scaled.yaml, without a disk."
    data_dir = values.get("DATA_DIR", "/data")
    what = f"DATA_DIR {data_dir} is not on the disk, and jobs are lost"
    yield data_dir != disk.get("mountPath"), what, f"Write `mountPath: {data_dir}`."
    what = "the image's user may not write on the disk, which Render mounts with root as its owner"
    yield values.get("SHAPBOX_BOOT_USER") != "root", what, "Add SHAPBOX_BOOT_USER with the value root."


def _variable_rules(service: Service, *, fallback_allowed: bool) -> Iterator[Rule]:
    if service.get("type") == "keyvalue":
        return
    if (items := _items(service)) is None:
        yield True, "its envVars are no list of keys", "Write `envVars:` and below it `- key: NAME`."
        return
    keys, stated = [str(item["key"]) for item in items], _values(items)
    for key, item in zip(keys, items, strict=True):
        sources = [source for source in SOURCES if source in item]
        unknown = key.removesuffix("_FILE") not in SETTING_NAMES and not key.startswith(OTHER_NAMES)
        told = "value" in item and any(word in key for word in SECRET_WORDS)
        yield len(sources) != 1, f"{key} has {len(sources)} sources", f"Give it one of {', '.join(SOURCES)}."
        yield told, f"{key} is in the file for all to read", "Write `generateValue: true` or `sync: false`."
        yield unknown, f"{key} is no setting of Shapbox", "docs/configure.md lists them all."
    yield len(set(keys)) < len(keys), "one of its envVars appears twice", "Remove one of them."
    for name in KEY_NAMES if service.get("type") == "web" else ():
        what = f"{name} is missing: nobody could learn the one made at boot"
        yield name not in keys, what, "Add it: `generateValue: true`."
    broken = stated.get(ALLOWS, "").lower() in ON and not fallback_allowed
    remedy = f"Remove {ALLOWS} there, or say that you want it: {ALLOWS}=true."
    yield broken, f"it would start with placeholders for broken models ({ALLOWS})", remedy
    known = {**{key: EXAMPLES.get(key, "") for key in keys}, **stated}
    try:  # boot's own rules judge the values
        Settings.from_environment({key: value for key, value in known.items() if not key.endswith("_FILE")})
    except SettingsError as error:
        for line in str(error).splitlines()[1:]:
            yield True, line.strip(" -"), "Boot would refuse it."


def _items(service: Service) -> list[Service] | None:
    """Return the entries of a service's envVars; None if they are no list of keys."""
    listed = service.get("envVars", [])
    well_formed = isinstance(listed, list) and all(isinstance(one, dict) and one.get("key") for one in listed)
    return listed if well_formed else None


def _values(items: list[Service]) -> dict[str, str]:
    found = {str(item["key"]): str(item["value"]) for item in items if "value" in item}
    return {key: value.lower() if value in {"True", "False"} else value for key, value in found.items()}


def _is_whole(value: object, least: int, most: int = 1_000_000) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
