from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.render.blueprint import read_blueprint
from shared.build import ROOT

BLUEPRINTS = ("render.yaml", "ops/render/scaled.yaml")

type Document = dict[str, Any]


def faults(document: object, tmp_path: Path) -> str:
    path = tmp_path / "render.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return "\n".join(str(fault) for fault in read_blueprint(path, ROOT).faults)


def load(name: str) -> Document:
    return dict(yaml.safe_load((ROOT / name).read_text()))


def service(document: Document, number: int = 0) -> Document:
    return dict.__getitem__(document, "services")[number]  # type: ignore[no-any-return]


def variable(document: Document, key: str, number: int = 0) -> Document:
    return next(item for item in service(document, number)["envVars"] if item["key"] == key)


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_our_blueprints_are_without_a_fault(name: str) -> None:
    assert read_blueprint(ROOT / name, ROOT).faults == ()


def test_the_plan_the_disk_and_the_keys_are_what_the_appliance_is_made_for() -> None:
    only = service(load("render.yaml"))
    assert (only["plan"], only["healthCheckPath"], only["autoDeployTrigger"]) == (
        "starter",
        "/healthz",
        "off",
    )
    assert only["disk"] == {"name": "shapbox-data", "mountPath": "/data", "sizeGB": 1}
    generated = [item["key"] for item in only["envVars"] if item.get("generateValue")]
    assert generated == ["API_KEY", "ADMIN_API_KEY", "METRICS_TOKEN"]


def test_scaled_out_nothing_has_a_disk_and_the_secrets_are_asked_for_once() -> None:
    services = load("ops/render/scaled.yaml")["services"]
    assert {one["type"]: one.get("disk") for one in services} == {
        "web": None,
        "worker": None,
        "keyvalue": None,
    }
    asked = [item["key"] for one in services for item in one.get("envVars", []) if item.get("sync") is False]
    assert sorted(asked) == sorted(set(asked))
    assert {"AWS_SECRET_ACCESS_KEY", "STORAGE_URL"} <= set(asked)


def edit(path: str, value: object) -> Callable[[Document], None]:
    """Set a field of the first service; a dot leads into its disk."""

    def change(document: Document) -> None:
        place = service(document)
        *outer, last = path.split(".")
        for name in outer:
            place = place[name]
        place[last] = value

    return change


def set_variable(key: str, **item: object) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        others = [other for other in service(document)["envVars"] if other["key"] != key]
        service(document)["envVars"] = [*others, *([{"key": key, **item}] if item else [])]

    return change


BROKEN: list[tuple[Callable[[Document], None], str]] = [
    (edit("autoDeployTrigger", False), "unquoted off"),
    (edit("autoDeployTrigger", "never"), "autoDeployTrigger is 'never'"),
    (edit("type", "webb"), "its type is 'webb'"),
    (edit("plan", None), "names no plan"),
    (edit("name", ""), "has no name"),
    (edit("env", "docker"), "no longer reads env"),
    (edit("runtime", "python"), "runtime is 'python'"),
    (edit("dockerfilePath", "./Containerfile"), "./Containerfile is not there"),
    (edit("dockerContext", "nowhere"), "nowhere is not there"),
    (edit("healthCheckPath", "/"), "healthCheckPath is '/'"),
    (edit("maxShutdownDelaySeconds", 30), "refused on a free plan and beside a disk"),
    (edit("numInstances", 2), "has one instance"),
    (edit("plan", "free"), "a free plan has no disk"),
    (edit("disk.mountPath", "/opt"), "cannot be mounted on '/opt'"),
    (edit("disk.mountPath", "/other"), "DATA_DIR /data is not on the disk"),
    (edit("disk.sizeGB", "1"), "sizeGB is '1'"),
    (edit("disk.name", ""), "disk has no name"),
    (edit("envVars", {"PORT": 1}), "no list of keys"),
    (set_variable("API_KEY", value="a-key-that-all-can-read"), "API_KEY stands in the file"),
    (set_variable("API_KEY"), "API_KEY is missing"),
    (set_variable("API_KEY", value="a", sync=False), "API_KEY has 2 sources"),
    (set_variable("WORKRES", value="2"), "WORKRES is no setting"),
    (set_variable("WORKERS", value="many"), "WORKERS: 'many' is not a whole number"),
    (set_variable("METRICS_PORT", value=10000), "10000 is also PORT"),
    (set_variable("METRICS_PORT", value=18012), "keeps for itself"),
    (set_variable("SHAPBOX_BOOT_USER"), "may not write on the disk"),
    (
        set_variable("REDIS_URL", fromService={"type": "keyvalue", "name": "r", "property": "host"}),
        "not here",
    ),
]


@pytest.mark.parametrize(("change", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_each_fault_is_named(change: Callable[[Document], None], said: str, tmp_path: Path) -> None:
    document = load("render.yaml")
    change(document)
    assert said in faults(document, tmp_path)


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    document = load("render.yaml")
    for change in (edit("plan", None), edit("healthCheckPath", "/"), set_variable("API_KEY")):
        change(document)
    assert len(faults(document, tmp_path).splitlines()) == 3


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("maxmemoryPolicy", "allkeys-lru", "evicts"),
        ("ipAllowList", [{"source": "0.0.0.0/0"}], "everybody"),
    ],
)
def test_a_redis_that_evicts_or_is_open_is_refused(
    field: str, value: object, said: str, tmp_path: Path
) -> None:
    document = load("ops/render/scaled.yaml")
    service(document, 2)[field] = value
    assert said in faults(document, tmp_path)
    del service(document, 2)[field]
    assert said in faults(document, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "web", "name": "shapbox-api", "envVarKey": "NOWHERE"}, "which shapbox-api has not"),
        ({"type": "web", "name": "shapbox-api"}, "for nothing"),
        ({"type": "keyvalue", "name": "shapbox-redis", "property": "url"}, "asks for 'url'"),
        ({"type": "worker", "name": "shapbox-api", "property": "host"}, "which is not here"),
    ],
)
def test_what_a_variable_asks_of_another_service_must_be_there(
    change: Document, said: str, tmp_path: Path
) -> None:
    document = load("ops/render/scaled.yaml")
    variable(document, "AWS_REGION", 1)["fromService"] = change
    assert said in faults(document, tmp_path)


def test_a_worker_that_gets_too_little_time_to_stop_is_told_of(tmp_path: Path) -> None:
    document = load("ops/render/scaled.yaml")
    service(document, 1)["maxShutdownDelaySeconds"] = 10
    assert "killed before it has stopped" in faults(document, tmp_path)
    service(document, 1)["maxShutdownDelaySeconds"] = 301
    assert "is 301" in faults(document, tmp_path)


@pytest.mark.parametrize("text", ["services: [", "- 1", "services: 3", "services: [1]", ""])
def test_what_is_no_blueprint_at_all_is_one_fault(text: str, tmp_path: Path) -> None:
    path = tmp_path / "render.yaml"
    path.write_text(text)
    assert len(read_blueprint(path, ROOT).faults) == 1


def test_the_service_that_answers_the_public_is_found() -> None:
    assert [read_blueprint(ROOT / name, ROOT).web_service for name in BLUEPRINTS] == [
        "shapbox",
        "shapbox-api",
    ]
