"""ops/kubernetes.yaml against Kubernetes's schemas, and against what Shapbox is."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from shared.metrics import QUEUE_BATCHES
from shared.settings import KEY_NAMES, SETTING_NAMES, Settings
from shared.timing import TIMING

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "ops" / "kubernetes.yaml").read_text()
DOCUMENTS = list(yaml.safe_load_all(TEXT))
#: Kinds of other programs, whose schemas no package brings, and the fields that each must have.
FOREIGN = {
    "ServiceMonitor": ("monitoring.coreos.com/v1", ("selector.matchLabels", "endpoints.0.port")),
    "ScaledObject": (
        "keda.sh/v1alpha1",
        (
            "scaleTargetRef.name",
            "triggers.0.type",
            "triggers.0.metadata.serverAddress",
            "triggers.0.metadata.query",
            "triggers.0.metadata.threshold",
        ),
    ),
}


def title(document: dict[str, Any]) -> str:
    return f"{document['kind']} {document['metadata']['name']}"


BY_TITLE = {title(document): document for document in DOCUMENTS}
PODS = {name: one["spec"]["template"]["spec"] for name, one in BY_TITLE.items() if "template" in one["spec"]}
APPLIANCE, WORKER = PODS["Deployment shapbox"], PODS["Deployment shapbox-worker"]


def at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value[int(part) if isinstance(value, list) else part]
    return value


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


@pytest.mark.parametrize("document", DOCUMENTS, ids=title)
def test_each_document_fits_its_kind(document: dict[str, Any]) -> None:
    if document["kind"] in FOREIGN:
        version, required = FOREIGN[document["kind"]]
        assert document["apiVersion"] == version
        for path in required:
            assert at(document["spec"], path), path
        # Custom resources take numbers in a trigger's metadata as text only.
        for trigger in document["spec"].get("triggers", ()):
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
    else:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_documents_refer_to_each_other() -> None:
    for deployment in ("Deployment shapbox", "Deployment shapbox-worker"):
        spec = BY_TITLE[deployment]["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    service = BY_TITLE["Service shapbox"]
    monitor = BY_TITLE["ServiceMonitor shapbox"]["spec"]
    assert service["spec"]["selector"] == at(BY_TITLE["Deployment shapbox"], "spec.template.metadata.labels")
    assert monitor["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "shapbox"
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert f"Deployment {BY_TITLE['ScaledObject shapbox-worker']['spec']['scaleTargetRef']['name']}" in PODS
    volumes = {volume["name"]: volume for volume in APPLIANCE["volumes"]}
    assert f"PersistentVolumeClaim {volumes['data']['persistentVolumeClaim']['claimName']}" in BY_TITLE
    assert volumes["keys"]["secret"]["secretName"] == at(
        monitor, "endpoints.0.authorization.credentials.name"
    )
    assert at(monitor, "endpoints.0.authorization.credentials.key") == "METRICS_TOKEN"


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_a_pod_is_confined_and_has_time_to_drain(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["memory"] == "512Mi"
    dockerfile = (ROOT / "Dockerfile").read_text()
    user = pod["securityContext"]
    assert f"SHAPBOX_USER={user['runAsUser']}:{user['runAsGroup']}" in dockerfile
    assert user["fsGroup"] == user["runAsGroup"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    # Boot, Redis and uploads write here, and to nothing else: `make up` has a read-only root as well.
    assert {"/data", "/tmp"} <= set(mounts)
    assert set(mounts.values()) == {volume["name"] for volume in pod["volumes"]}
    assert pod["terminationGracePeriodSeconds"] > max(TIMING.worker_drain_seconds, stop_seconds())
    assert pod["enableServiceLinks"] is False


def stop_seconds() -> int:
    """All programs' stop times, one after the other."""
    programs = configparser.RawConfigParser(strict=False, comment_prefixes=(";",))
    programs.read(ROOT / "supervisord.conf")
    return sum(programs.getint(name, "stopwaitsecs", fallback=0) for name in programs.sections())


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_a_pods_environment_is_settings_that_are_valid_together(pod: dict[str, Any], tmp_path: Path) -> None:
    (container,) = pod["containers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    assert {name.removesuffix("_FILE") for name in given} <= set(SETTING_NAMES)
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for number, (name, path) in enumerate(given.items()):
        if name.endswith("_FILE"):
            assert Path(path).parent.as_posix() in mounts
            assert Path(path).name == name.removesuffix("_FILE")
            key = tmp_path / name
            key.write_text(f"a-key-of-its-own-{number}")
            given[name] = str(key)
    if pod is WORKER:
        given |= {"REDIS_URL": "redis://:secret@redis:6379/0", "STORAGE_URL": "s3://shapbox"}
    settings = Settings.from_environment(given)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == ({"http": settings.port} if pod is APPLIANCE else {}) | {"metrics": settings.metrics_port}
    assert pod is WORKER or settings.api_key


def test_the_appliance_is_probed_where_the_api_answers() -> None:
    paths = yaml.safe_load((ROOT / "services" / "api" / "openapi.yaml").read_text())["paths"]
    (container,) = APPLIANCE["containers"]
    probes = {name: probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert {"/healthz", "/readyz", at(BY_TITLE["ServiceMonitor shapbox"], "spec.endpoints.0.path")} <= set(
        paths
    )


def test_workers_without_an_api_are_probed_by_the_images_health_check() -> None:
    (container,) = WORKER["containers"]
    probes = [probe["exec"]["command"] for name, probe in container.items() if name.endswith("Probe")]
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert len(probes) == 2
    assert all(f"CMD {probe}".replace("'", '"') in dockerfile for probe in probes)


def test_workers_scale_with_the_metric_of_waiting_batches() -> None:
    (trigger,) = BY_TITLE["ScaledObject shapbox-worker"]["spec"]["triggers"]
    assert f"shapbox_{QUEUE_BATCHES.name}{{" in trigger["metadata"]["query"]


def test_the_pages_commands_make_the_secrets_and_choose_documents() -> None:
    page = (
        (ROOT / "docs" / "deploy-containers.md")
        .read_text()
        .partition("## Kubernetes")[2]
        .partition("\n## ")[0]
    )
    secrets = dict(re.findall(r"create secret generic ([\w-]+)((?:.*\\\n)*.*)", page))
    named = {value for value in strings(list(PODS.values())) if value.startswith("shapbox-")}
    assert set(secrets) == named
    literals = {name: set(re.findall(r"--from-literal=(\w+)=", text)) for name, text in secrets.items()}
    assert literals["shapbox-keys"] == set(KEY_NAMES)
    assert {"REDIS_URL", "STORAGE_URL"} <= literals["shapbox-remote"]
    assert all(name in SETTING_NAMES or name.startswith("AWS_") for name in literals["shapbox-remote"])
    components = {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in DOCUMENTS}
    assert set(re.findall(r"component=(\w+)", page)) == components
    assert "s|shapbox:latest|" in page
    assert TEXT.count("image: shapbox:latest") == len(PODS)
