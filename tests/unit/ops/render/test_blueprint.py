from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.render.blueprint import read_blueprint
from shared.build import ROOT

OURS, SCALED = "render.yaml", "ops/render/scaled.yaml"

type Document = dict[str, Any]
type Change = Callable[[Document], object]


def load(name: str) -> Document:
    return dict(yaml.safe_load((ROOT / name).read_text()))


def faults(document: Document, tmp_path: Path, *, fallback_allowed: bool = False) -> str:
    path = tmp_path / "render.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    found = read_blueprint(path, ROOT, fallback_allowed=fallback_allowed).faults
    return "\n".join(str(fault) for fault in found)


def test_our_blueprints_are_without_a_fault_and_made_for_the_appliance() -> None:
    read = {name: read_blueprint(ROOT / name, ROOT) for name in (OURS, SCALED)}
    assert [(one.faults, one.web_service) for one in read.values()] == [((), "shapbox"), ((), "shapbox-api")]
    [only] = load(OURS)["services"]
    assert (only["plan"], only["autoDeployTrigger"]) == ("starter", "off")
    assert only["disk"] == {"name": "shapbox-data", "mountPath": "/data", "sizeGB": 1}
    generated = [item["key"] for item in only["envVars"] if item.get("generateValue")]
    assert generated == ["API_KEY", "ADMIN_API_KEY", "METRICS_TOKEN"]


def test_scaled_out_nothing_has_a_disk_and_each_secret_is_asked_for_once() -> None:
    services = load(SCALED)["services"]
    assert [(one["type"], "disk" in one) for one in services] == [
        ("web", False),
        ("worker", False),
        ("keyvalue", False),
    ]
    asked = [item["key"] for one in services for item in one.get("envVars", []) if item.get("sync") is False]
    assert sorted(asked) == sorted(set(asked))
    assert {"AWS_SECRET_ACCESS_KEY", "STORAGE_URL"} <= set(asked)
    theirs = {item["key"]: item["fromService"] for item in services[1]["envVars"] if "fromService" in item}
    for key, source in theirs.items():
        target = next(
            one for one in services if (one["type"], one["name"]) == (source["type"], source["name"])
        )
        assert key == "REDIS_URL" or source["envVarKey"] in [item["key"] for item in target["envVars"]]


def edit(path: str, value: object, number: int = 0) -> Change:
    """Set a field of a service; a dot leads into its disk."""

    def change(document: Document) -> None:
        place = document["services"][number]
        *outer, last = path.split(".")
        for name in outer:
            place = place[name]
        place[last] = value

    return change


def set_variable(key: str, **item: object) -> Change:
    def change(document: Document) -> None:
        service = document["services"][0]
        others = [other for other in service["envVars"] if other["key"] != key]
        service["envVars"] = [*others, *([{"key": key, **item}] if item else [])]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit("autoDeployTrigger", False), "unquoted off"),
        (edit("autoDeployTrigger", None), "autoDeployTrigger is None"),
        (edit("type", "webb"), "its type is 'webb'"),
        (edit("plan", None), "names no plan"),
        (edit("name", ""), "the same name, or none"),
        (edit("runtime", "python"), "runtime is 'python'"),
        (edit("dockerfilePath", "./Containerfile"), "./Containerfile does not exist"),
        (edit("healthCheckPath", "/"), "healthCheckPath is '/'"),
        (edit("maxShutdownDelaySeconds", 30), "refused on a free plan and beside a disk"),
        (edit("numInstances", 2), "has one instance"),
        (edit("plan", "free"), "a free plan has no disk"),
        (edit("disk.mountPath", "/other"), "DATA_DIR /data is not on the disk"),
        (edit("disk.sizeGB", "1"), "sizeGB is '1'"),
        (edit("disk.name", ""), "disk has no name"),
        (edit("envVars", {"PORT": 1}), "no list of keys"),
        (set_variable("API_KEY", value="a-key-that-all-can-read"), "API_KEY is in the file"),
        (set_variable("API_KEY"), "API_KEY is missing"),
        (set_variable("API_KEY", value="a", sync=False), "API_KEY has 2 sources"),
        (set_variable("WORKRES", value="2"), "WORKRES is no setting"),
        (set_variable("WORKERS", value="many"), "WORKERS: 'many' is not a whole number"),
        (set_variable("METRICS_PORT", value=10000), "10000 is also PORT"),
        (set_variable("SHAPBOX_BOOT_USER"), "may not write on the disk"),
        (set_variable("ALLOW_FALLBACK_MODEL", value=True), "start with placeholders"),
        (lambda one: one["services"][0]["envVars"].append({"key": "API_KEY", "sync": False}), "twice"),
    ],
)
def test_each_fault_is_named(change: Change, said: str, tmp_path: Path) -> None:
    document = load(OURS)
    change(document)
    assert said in faults(document, tmp_path)
    if "placeholders" in said:
        assert faults(document, tmp_path, fallback_allowed=True) == ""


@pytest.mark.parametrize(
    ("number", "name", "value", "said"),
    [
        (1, "maxShutdownDelaySeconds", 10, "is 10"),  # killed before it has stopped
        (1, "healthCheckPath", "/healthz", "healthCheckPath is"),
        (2, "maxmemoryPolicy", "allkeys-lru", "evicts"),
        (2, "maxmemoryPolicy", None, "evicts"),
        (2, "ipAllowList", [{"source": "0.0.0.0/0"}], "everybody"),
    ],
)
def test_a_worker_and_a_redis_have_rules_of_their_own(
    number: int, name: str, value: object, said: str, tmp_path: Path
) -> None:
    document = load(SCALED)
    edit(name, value, number)(document)
    assert said in faults(document, tmp_path)


def test_all_faults_come_at_once_and_what_is_no_blueprint_is_one(tmp_path: Path) -> None:
    document = load(OURS)
    for change in (edit("plan", None), edit("healthCheckPath", "/"), set_variable("API_KEY")):
        change(document)
    assert len(faults(document, tmp_path).splitlines()) == 3
    path = tmp_path / "render.yaml"
    for text in ("services: [", "- 1", "services: 3", "services: [1]", ""):
        path.write_text(text)
        assert len(read_blueprint(path, ROOT).faults) == 1
