"""The variables of a blueprint's services: well-formed, and settings that Shapbox takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ops.render.fault import Fault
from shared.errors import SettingsError
from shared.settings import KEY_NAMES, SETTING_NAMES, Settings

#: Where a value can come from. Exactly one of them.
SOURCES = ("value", "generateValue", "sync", "fromService", "fromDatabase")
#: Properties that may be asked of a service.
PROPERTIES = frozenset({"host", "port", "hostport", "connectionString"})
#: Names beside the settings: the image's user, and what an object store is reached with.
OTHER_NAMES, OTHER_BEGINNINGS = frozenset({"SHAPBOX_BOOT_USER"}), ("AWS_", "GOOGLE_", "AZURE_")
#: Ports that Render keeps for itself.
TAKEN_PORTS = frozenset({"18012", "18013", "19099"})
#: Words in the names of values that must not be in a file that everybody reads.
SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
#: A value in the place of one that only Render knows, which boot would take.
EXAMPLES = {"REDIS_URL": "redis://host:6379", "STORAGE_URL": "s3://bucket/folder"}

type Service = Mapping[str, Any]
type Variables = Mapping[str, Mapping[str, Any]]


def check_settings(name: str, service: Service, services: Mapping[str, Service]) -> list[Fault]:
    """Return every fault in a service's variables."""
    if service.get("type") == "keyvalue":
        return []
    listed = service.get("envVars", [])
    if not isinstance(listed, list) or not all(isinstance(item, dict) and item.get("key") for item in listed):
        return [
            Fault(name, "its envVars are no list of keys", "Write `envVars:` and below it `- key: NAME`.")
        ]
    variables: Variables = {str(item["key"]): item for item in listed}
    found = [*_form(listed, services), *_settings(variables), *_places(service, variables)]
    return [Fault(name, what, remedy) for what, remedy in found]


def _form(listed: Sequence[Service], services: Mapping[str, Service]) -> Iterator[tuple[str, str]]:
    for item in listed:
        key = item["key"]
        sources = [source for source in SOURCES if source in item]
        if len(sources) != 1:
            yield f"{key} has {len(sources)} sources", f"Give it one of {', '.join(SOURCES)}."
        elif sources == ["value"] and any(word in key for word in SECRET_WORDS):
            yield f"{key} stands in the file for all to read", "Write `generateValue: true` or `sync: false`."
        elif sources == ["fromService"]:
            yield from _reference(key, item["fromService"], services)
        if sum(other["key"] == key for other in listed) > 1:
            yield f"{key} is there twice", "Take one of them out."


def _reference(key: str, reference: Any, services: Mapping[str, Service]) -> Iterator[tuple[str, str]]:
    asked = reference if isinstance(reference, dict) else {}
    target = services.get(str(asked.get("name")))
    if target is None or target.get("type") != asked.get("type"):
        yield (
            f"{key} comes from {asked.get('type')} {asked.get('name')}, which is not here",
            "Name a service of this file and its type.",
        )
        return
    if ("property" in asked) == ("envVarKey" in asked):
        yield f"{key} asks {asked['name']} for nothing, or for two things", "Give property or envVarKey."
    elif "property" in asked and asked["property"] not in PROPERTIES:
        yield f"{key} asks for {asked['property']!r}", f"Use one of {', '.join(sorted(PROPERTIES))}."
    elif "envVarKey" in asked:
        known = {item.get("key") for item in target.get("envVars", [])}
        if asked["envVarKey"] not in known:
            yield f"{key} asks for {asked['envVarKey']}, which {asked['name']} has not", "Add it there."


def _settings(variables: Variables) -> Iterator[tuple[str, str]]:
    for key in variables:
        plain = key.removesuffix("_FILE")
        if plain not in SETTING_NAMES and key not in OTHER_NAMES and not key.startswith(OTHER_BEGINNINGS):
            yield f"{key} is no setting of Shapbox", "docs/operations.md lists them all."
    given = {key: _example(key, item) for key, item in variables.items() if not key.endswith("_FILE")}
    try:
        Settings.from_environment(given)
    except SettingsError as error:
        for line in str(error).splitlines()[1:]:
            yield line.strip(" -"), "Boot would refuse it."


def _example(key: str, item: Mapping[str, Any]) -> str:
    """Return the variable's value, or a valid example if only Render knows it."""
    if "value" in item:
        value = item["value"]
        return str(value).lower() if isinstance(value, bool) else str(value)
    return EXAMPLES.get(key) or (f"a-generated-{key.lower()}" if key in KEY_NAMES else "")


def _places(service: Service, variables: Variables) -> Iterator[tuple[str, str]]:
    """Give what does not fit where the service runs."""
    for name in ("PORT", "METRICS_PORT"):
        if str(variables.get(name, {}).get("value")) in TAKEN_PORTS:
            yield f"{name} is one that Render keeps for itself", "Take another one."
    if service.get("type") == "web":
        for name in KEY_NAMES:
            if name not in variables:
                yield (
                    f"{name} is missing: nobody could learn the one made at boot",
                    "Add it: `generateValue: true`.",
                )
    disk = service.get("disk")
    if not isinstance(disk, dict):
        return
    data_dir = str(variables.get("DATA_DIR", {}).get("value", "/data"))
    if data_dir != disk.get("mountPath"):
        yield f"DATA_DIR {data_dir} is not on the disk, and jobs are lost", "Mount the disk there."
    if variables.get("SHAPBOX_BOOT_USER", {}).get("value") != "root":
        yield (
            "the image starts as a user that may not write on the disk, which Render mounts as root's",
            "Add SHAPBOX_BOOT_USER with the value root.",
        )
