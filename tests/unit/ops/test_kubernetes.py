"""ops/kubernetes.yaml against Kubernetes's schemas, and against what Shapbox is."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from shared.build import ROOT
from shared.metrics import QUEUE_BATCHES
from shared.settings import KEY_NAMES, SETTING_NAMES, Settings
from shared.timing import TIMING

TEXT = (ROOT / "ops" / "kubernetes.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DOCUMENTS = {f"{one['kind']} {one['metadata']['name']}": one for one in yaml.safe_load_all(TEXT)}
#: Documents of other programs, whose schemas no package brings.
FOREIGN = {"ServiceMonitor": "monitoring.coreos.com/v1", "ScaledObject": "keda.sh/v1alpha1"}
PODS = {name: one["spec"]["template"]["spec"] for name, one in DOCUMENTS.items() if "template" in one["spec"]}
APPLIANCE, WORKER = PODS["Deployment shapbox"], PODS["Deployment shapbox-worker"]
(MONITORED,) = DOCUMENTS["ServiceMonitor shapbox"]["spec"]["endpoints"]
SCALED = DOCUMENTS["ScaledObject shapbox-worker"]["spec"]


def test_each_document_fits_its_kind() -> None:
    for document in DOCUMENTS.values():
        if foreign := FOREIGN.get(document["kind"]):
            assert document["apiVersion"] == foreign
        else:
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_documents_refer_to_each_other() -> None:
    for deployment in ("Deployment shapbox", "Deployment shapbox-worker"):
        spec = DOCUMENTS[deployment]["spec"]
        assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    service = DOCUMENTS["Service shapbox"]
    monitor = DOCUMENTS["ServiceMonitor shapbox"]["spec"]
    labels = DOCUMENTS["Deployment shapbox"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels
    assert monitor["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "shapbox"
    assert MONITORED["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert f"Deployment {SCALED['scaleTargetRef']['name']}" in PODS
    volumes = {volume["name"]: volume for volume in APPLIANCE["volumes"]}
    assert f"PersistentVolumeClaim {volumes['data']['persistentVolumeClaim']['claimName']}" in DOCUMENTS
    token = MONITORED["authorization"]["credentials"]
    assert (token["name"], token["key"]) == (volumes["keys"]["secret"]["secretName"], "METRICS_TOKEN")


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_a_pod_is_confined_and_has_time_to_drain(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["memory"] == "512Mi"
    user = pod["securityContext"]
    assert f"SHAPBOX_USER={user['runAsUser']}:{user['runAsGroup']}" in DOCKERFILE
    assert user["fsGroup"] == user["runAsGroup"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    # Boot, Redis and uploads write here, and to nothing else: `make up` has a read-only root as well.
    assert {"/data", "/tmp"} <= set(mounts)
    assert set(mounts.values()) == {volume["name"] for volume in pod["volumes"]}
    # All programs' stop times, one after the other.
    programs = configparser.RawConfigParser(strict=False, comment_prefixes=(";",))
    programs.read(ROOT / "supervisord.conf")
    stop = sum(programs.getint(name, "stopwaitsecs", fallback=0) for name in programs.sections())
    assert pod["terminationGracePeriodSeconds"] > max(TIMING.worker_drain_seconds, stop)
    assert pod["enableServiceLinks"] is False


@pytest.mark.parametrize("pod", PODS.values(), ids=PODS)
def test_a_pods_environment_is_settings_that_are_valid_together(pod: dict[str, Any], tmp_path: Path) -> None:
    (container,) = pod["containers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    assert {name.removesuffix("_FILE") for name in given} <= set(SETTING_NAMES)
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for number, (name, path) in enumerate(given.items()):
        if name.endswith("_FILE"):
            assert str(Path(path).parent) in mounts
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


def test_pods_are_probed_where_the_api_answers_and_workers_by_the_images_health_check_and_scale_with_the_queue() -> (
    None
):
    (container,) = APPLIANCE["containers"]
    probes = {name: probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")}
    assert {name: (probe["path"], probe["port"]) for name, probe in probes.items()} == {
        "startupProbe": ("/healthz", "http"),
        "livenessProbe": ("/healthz", "http"),
        "readinessProbe": ("/readyz", "http"),
    }
    assert MONITORED["path"] == "/metrics"
    (container,) = WORKER["containers"]
    commands = [probe["exec"]["command"] for name, probe in container.items() if name.endswith("Probe")]
    assert len(commands) == 2
    assert all(f"CMD {command}".replace("'", '"') in DOCKERFILE for command in commands)
    (trigger,) = SCALED["triggers"]
    # Custom resources take numbers in a trigger's metadata as text only.
    assert all(isinstance(trigger["metadata"][name], str) for name in ("serverAddress", "query", "threshold"))
    assert f"shapbox_{QUEUE_BATCHES.name}{{" in trigger["metadata"]["query"]


def test_the_pages_commands_make_the_secrets_and_choose_documents() -> None:
    page = (
        (ROOT / "docs" / "deploy-containers.md")
        .read_text()
        .partition("## Kubernetes")[2]
        .partition("\n## ")[0]
    )
    secrets = dict(re.findall(r"create secret generic ([\w-]+)((?:.*\\\n)*.*)", page))
    assert set(secrets) == set(re.findall(r"(?:secretName|secretRef: {name): ([\w-]+)", TEXT))
    literals = {name: set(re.findall(r"--from-literal=(\w+)=", text)) for name, text in secrets.items()}
    assert literals["shapbox-keys"] == set(KEY_NAMES)
    assert {"REDIS_URL", "STORAGE_URL"} <= literals["shapbox-remote"]
    assert all(name in SETTING_NAMES or name.startswith("AWS_") for name in literals["shapbox-remote"])
    components = {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in DOCUMENTS.values()}
    assert set(re.findall(r"component=(\w+)", page)) == components
    assert "s|shapbox:latest|" in page
    assert TEXT.count("image: shapbox:latest") == len(PODS)
