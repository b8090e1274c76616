"""A blueprint (render.yaml), held against Render's rules and ours before Render sees it.

Render's own validation needs a key, and knows nothing of Shapbox: that a Redis which evicts loses jobs, that DATA_DIR
must lie on the disk, which settings there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.errors import SettingsError
from shared.settings import KEY_NAMES, SETTING_NAMES, Settings

TYPES = frozenset({"web", "pserv", "worker", "cron", "keyvalue"})
#: Names that Render reads no more, and what took their place.
OLD_NAMES = {"env": "runtime", "autoDeploy": "autoDeployTrigger", "pullRequestPreviewsEnabled": "previews"}
#: When Render may deploy by itself.
TRIGGERS = ("commit", "checksPass", "off")
#: Where no disk can be mounted; folders below them can.
NO_MOUNTS = frozenset({"", "/opt", "/opt/render", "/opt/render/project", "/home", "/etc", "/etc/secrets"})
#: Where a variable's value can come from: exactly one of them. And what may be asked of another service.
SOURCES = ("value", "generateValue", "sync", "fromService", "fromDatabase")
PROPERTIES = frozenset({"host", "port", "hostport", "connectionString"})
#: Names beside the settings: the image's user, and what an object store is reached with.
OTHER_NAMES, OTHER_BEGINNINGS = frozenset({"SHAPBOX_BOOT_USER"}), ("AWS_", "GOOGLE_", "AZURE_")
#: Ports that Render keeps for itself.
TAKEN_PORTS = frozenset({"18012", "18013", "19099"})
#: Words in the names of values that must not be in a file that everybody reads.
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
#: A value in the place of one that only Render knows, which boot would take.
EXAMPLES = {"REDIS_URL": "redis://host:6379", "STORAGE_URL": "s3://bucket/folder"} | {
    name: f"a-generated-{name.lower()}" for name in KEY_NAMES
}

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
        listed = self.services.get(name or "", {}).get("envVars")
        items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
        return {str(item["key"]): _text(item["value"]) for item in items if item.keys() >= {"key", "value"}}


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
    names = [one.get("name") for one in listed]
    found = [Fault("a service", "has no name", "Give it a name.") for name in names if not name]
    for name, service in services.items():
        rules = [
            (names.count(name) > 1, "is there twice", "Give each service a name of its own."),
            *_service_rules(service, root),
            *_variable_rules(service, services),
        ]
        found += [Fault(name, what, remedy) for broken, what, remedy in rules if broken]
    return Blueprint(path, services, tuple(found))


def _service_rules(service: Service, root: Path) -> Iterator[Rule]:
    kind, plan = service.get("type"), service.get("plan")
    yield kind not in TYPES, f"its type is {kind!r}", f"Use one of {', '.join(sorted(TYPES))}."
    for old, new in OLD_NAMES.items():
        yield old in service, f"Render no longer reads {old}", f"Use {new}."
    yield not isinstance(plan, str), "it names no plan", "Write `plan: starter`."
    if kind == "keyvalue":
        closed, evicts = service.get("ipAllowList") == [], service.get("maxmemoryPolicy") != "noeviction"
        yield not closed, "everybody in its ipAllowList reaches the Redis", "Write `ipAllowList: []`."
        yield evicts, "its Redis evicts, and drops queued batches", "Write `maxmemoryPolicy: noeviction`."
        return
    yield from _build_rules(service, root)
    yield from _life_rules(service)
    if "disk" in service:
        yield from _disk_rules(service)


def _build_rules(service: Service, root: Path) -> Iterator[Rule]:
    runtime = service.get("runtime")
    yield runtime != "docker", f"its runtime is {runtime!r}", "Write `runtime: docker`."
    file, folder = service.get("dockerfilePath", "./Dockerfile"), service.get("dockerContext", ".")
    remedy = "Name a path from the repository's folder on."
    yield not (root / str(file)).is_file(), f"dockerfilePath {file} is not there", remedy
    yield not (root / str(folder)).is_dir(), f"dockerContext {folder} is not there", remedy


def _life_rules(service: Service) -> Iterator[Rule]:
    trigger, path = service.get("autoDeployTrigger", "off"), service.get("healthCheckPath")
    seconds = service.get("maxShutdownDelaySeconds", 300)
    is_web, well_formed = service.get("type") == "web", _is_whole(seconds, 1, 300)
    yield (
        trigger is False,
        "autoDeployTrigger is an unquoted off, which YAML reads as false",
        "Write 'off' in quotes.",
    )
    wrong = trigger is not False and trigger not in TRIGGERS
    yield wrong, f"autoDeployTrigger is {trigger!r}", f"Use one of {', '.join(TRIGGERS)}, in quotes."
    wrong = is_web and path != "/healthz"
    yield wrong, f"its healthCheckPath is {path!r}", "Write `healthCheckPath: /healthz`."
    yield not is_web and path is not None, "only web services have a healthCheckPath", "Take it out."
    refused = "maxShutdownDelaySeconds" in service and ("disk" in service or service.get("plan") == "free")
    yield refused, "maxShutdownDelaySeconds is refused on a free plan and beside a disk", "Take it out."
    yield not well_formed, f"maxShutdownDelaySeconds is {seconds!r}", "Use 1 to 300."
    soon = well_formed and seconds < 30
    yield soon, "it is killed before it has stopped", "Give maxShutdownDelaySeconds 30: a stop takes 25 s."


def _disk_rules(service: Service) -> Iterator[Rule]:
    disk = service["disk"] if isinstance(service["disk"], dict) else {}
    mount, size = disk.get("mountPath"), disk.get("sizeGB")
    wrong = not isinstance(mount, str) or not mount.startswith("/") or mount.rstrip("/") in NO_MOUNTS
    several = service.get("numInstances", 1) != 1 or "scaling" in service
    yield not disk.get("name"), "its disk has no name", "Give it one."
    yield wrong, f"a disk cannot be mounted on {mount!r}", "Write `mountPath: /data`."
    yield not _is_whole(size, 1), f"its disk's sizeGB is {size!r}", "Use a whole number from 1 on."
    yield service.get("plan") == "free", "a free plan has no disk", "Write `plan: starter`."
    remedy = "Take the disk out, as ops/render/scaled.yaml does."
    yield several, "a service with a disk has one instance", remedy


def _variable_rules(service: Service, services: Mapping[str, Service]) -> Iterator[Rule]:
    listed = service.get("envVars", [])
    if service.get("type") == "keyvalue":
        return
    if not isinstance(listed, list) or not all(isinstance(item, dict) and item.get("key") for item in listed):
        yield True, "its envVars are no list of keys", "Write `envVars:` and below it `- key: NAME`."
        return
    keys = [str(item["key"]) for item in listed]
    for item in listed:
        yield from _source_rules(item, services)
    for key in dict.fromkeys(keys):
        known = key.removesuffix("_FILE") in SETTING_NAMES or key in OTHER_NAMES
        unknown = not known and not key.startswith(OTHER_BEGINNINGS)
        yield keys.count(key) > 1, f"{key} is there twice", "Take one of them out."
        yield unknown, f"{key} is no setting of Shapbox", "docs/configure.md lists them all."
    given = {str(item["key"]): _text(item["value"]) for item in listed if "value" in item}
    yield from _setting_rules({**{key: EXAMPLES.get(key, "") for key in keys}, **given})
    yield from _place_rules(service, keys, given)


def _source_rules(item: Service, services: Mapping[str, Service]) -> Iterator[Rule]:
    key, sources = item["key"], [source for source in SOURCES if source in item]
    remedy = f"Give it one of {', '.join(SOURCES)}."
    yield len(sources) != 1, f"{key} has {len(sources)} sources", remedy
    told = sources == ["value"] and any(word in key for word in SECRET_WORDS)
    yield told, f"{key} stands in the file for all to read", "Write `generateValue: true` or `sync: false`."
    if sources != ["fromService"]:
        return
    asked = item["fromService"] if isinstance(item["fromService"], dict) else {}
    name, kind, wanted = asked.get("name"), asked.get("property"), asked.get("envVarKey")
    target = services.get(str(name), {})
    missing = not target or target.get("type") != asked.get("type")
    what = f"{key} comes from {asked.get('type')} {name}, which is not here"
    yield missing, what, "Name a service of this file and its type."
    wrong = not missing and (kind is None) == (wanted is None)
    yield wrong, f"{key} asks {name} for nothing, or for two things", "Give property or envVarKey."
    wrong = not missing and kind is not None and kind not in PROPERTIES
    yield wrong, f"{key} asks for {kind!r}", f"Use one of {', '.join(sorted(PROPERTIES))}."
    theirs = {one.get("key") for one in target.get("envVars") or []}
    lacking = not missing and wanted is not None and wanted not in theirs
    yield lacking, f"{key} asks for {wanted}, which {name} has not", "Add it there."


def _setting_rules(variables: Mapping[str, str]) -> Iterable[Rule]:
    """Have boot's own rules judge the values, with examples for those that only Render knows."""
    try:
        Settings.from_environment(
            {key: value for key, value in variables.items() if not key.endswith("_FILE")}
        )
    except SettingsError as error:
        return [(True, line.strip(" -"), "Boot would refuse it.") for line in str(error).splitlines()[1:]]
    return []


def _place_rules(service: Service, keys: list[str], given: Mapping[str, str]) -> Iterator[Rule]:
    """Give what does not fit where the service runs."""
    for name in ("PORT", "METRICS_PORT"):
        taken = given.get(name) in TAKEN_PORTS
        yield taken, f"{name} is one that Render keeps for itself", "Take another one."
    for name in KEY_NAMES:
        missing = service.get("type") == "web" and name not in keys
        what = f"{name} is missing: nobody could learn the one made at boot"
        yield missing, what, "Add it: `generateValue: true`."
    if not isinstance(disk := service.get("disk"), dict):
        return
    data_dir, user = given.get("DATA_DIR", "/data"), given.get("SHAPBOX_BOOT_USER")
    off_disk = data_dir != disk.get("mountPath")
    yield off_disk, f"DATA_DIR {data_dir} is not on the disk, and jobs are lost", "Mount the disk there."
    what = "the image starts as a user that may not write on the disk, which Render mounts as root's"
    yield user != "root", what, "Add SHAPBOX_BOOT_USER with the value root."


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_whole(value: object, least: int, most: int = 1_000_000) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
