"""The content of the image, and one container at work in 512 MB, without privileges."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from xml.etree import ElementTree as ET

import numpy as np
import orjson
import pytest

from ops.container.box import Box
from ops.container.engine import docker, docker_streams
from ops.container.image import layers, report
from ops.lab.memory import peak_of
from ops.lab.reference import EXACT, bare_explainer, distance
from ops.verify.report import Verdict, as_text
from ops.verify.run import run_verify
from ops.verify.visit import VerifyOptions
from services.api.explain.inline import MOST_ROWS
from shapbox import Shapbox
from shared.build import ROOT, VERSION
from shared.models.catalog import ModelCatalog
from shared.settings import KEY_NAMES
from tests.container.conftest import Say
from tests.support.faults.submitted import shaken_examples

#: MB that the image may add to its base.
MOST_OVER_BASE_MB = 400
#: Prints what must not be in the image, as root: what only root may read is in the image as well.
UNWANTED = r"""
    # Programs that compile, install or test, and files that only building or testing needs.
    for name in cc gcc g++ make ld pip pip3 git pytest ruff redis-benchmark; do command -v $name; done
    find /opt/shapbox/app -type d \( -name tests -o -name docs -o -name .git \)
    find /opt/shapbox/venv -type d -name tests
    find /root /var/cache/apt/archives /var/lib/apt/lists -type f ! -name lock ! -name '.bashrc' ! -name '.profile'
    find /opt/shapbox -name 'pip' -o -name '*.pyi' -o -name '*.h' -o -name '*.lock'
    # Files and folders that root does not own, or that others may write.
    find /opt \( ! -user root -o -perm /022 \) ! -type l
    # Modules that a start would have to compile.
    cd /opt/shapbox/app && for file in $(find . -name '*.py'); do
        test -f "$(dirname "$file")/__pycache__/$(basename "$file" .py).cpython-313.pyc" || echo "$file"
    done
"""
#: Prints what the image holds of ours, line by line.
LOOK = """
import importlib.metadata, os
from shared.treeshap.library import find_library
print(*os.listdir("."), *(f"ops/{name}" for name in os.listdir("ops")), *os.listdir("shared/treeshap/native"))
print(find_library().kernels()[-1].name)
print(*{one.name.lower().replace("_", "-") for one in importlib.metadata.distributions()})
print(open("/opt/shapbox/sbom.cdx.json").read().replace("\\n", ""))
print(open("LICENSE").read())
"""
#: Requests at the same time, and rows of each.
REQUESTS, ROWS = 4, 50_000
#: MB that the whole container takes meanwhile, at least (or nobody looked) and at most.
LEAST_MB, MOST_MB = 100, 350
#: Rows of each whose values are compared one by one; all are counted.
CHECKED = 2_000
#: Rows of the job that is drawn: enough for its batches to leave summaries, so that nothing is read back.
DRAWN_ROWS = 60_000
MODELS = ModelCatalog.load(ROOT / "models")
#: A row of the model diabetes.
ROW = [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8, 87]


def inside(image: str, *words: str) -> str:
    return docker("run", "--rm", "--user=0", f"--entrypoint={words[0]}", image, *words[1:])


def test_the_image_is_small_holds_only_what_it_runs_and_says_what_it_is(image: str, say: Say) -> None:
    say(report(image))
    found = layers(image)
    assert sum(size for size, _ in found[1:]) < MOST_OVER_BASE_MB
    assert [buys for _, buys in found].count("the base image") == 1
    assert inside(image, "sh", "-c", UNWANTED) == ""
    configuration = json.loads(docker("inspect", image))[0]["Config"]
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", labels["org.opencontainers.image.revision"])
    assert labels["shapbox.sbom"] == "/opt/shapbox/sbom.cdx.json"
    assert configuration["User"] == "10001:10001"


def test_of_our_folders_it_holds_services_shared_models_and_what_it_runs_and_its_sbom_lists_the_packages(
    image: str,
) -> None:
    folders, kernel, packages, sbom, licence = inside(image, "python", "-c", LOOK).split("\n", 4)
    assert {*folders.split()} - {"ops/__pycache__"} == {
        *("LICENSE", "models", "ops", "services", "shared", "supervisord.conf"),
        *("ops/__init__.py", "ops/run", "treeshap.so"),
    }
    assert kernel == "PORTABLE"
    assert licence.strip() == (ROOT / "LICENSE").read_text(encoding="utf-8").strip()
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE))
    components = json.loads(sbom)["components"]
    listed = {(one["name"].lower().replace("_", "-"), one["version"]) for one in components}
    assert listed <= locked  # which names packages of other platforms, too
    assert {name for name, _ in listed} == set(packages.split())


def test_a_data_dir_that_cannot_be_written_is_refused_with_the_remedy(image: str) -> None:
    mount = "--mount=type=tmpfs,destination=/data,tmpfs-mode=0755"
    said = docker_streams("run", "--rm", "--read-only", mount, image)
    assert "Shapbox cannot start." in said
    assert "DATA_DIR" in said
    assert "chown -R 10001:10001 /data" in said


def test_supervisord_is_process_1_with_no_shell_above_its_programs_and_cannot_write_the_root(
    box: Box,
) -> None:
    look = (
        "cat /proc/1/cmdline | tr '\\0' ' '; echo; cat /proc/[0-9]*/comm; touch /opt/shapbox/app/x 2>&1; true"
    )
    first, *names, refused = box.exec("sh", "-c", look).splitlines()
    assert first.startswith("/opt/shapbox/venv/bin/python -m ops.run.supervision ")
    assert names.count("sh") == 1, names  # the one that looks
    assert refused.endswith("Read-only file system")
    assert "Read-only" not in box.log()
    revision = json.loads(docker("inspect", box.image))[0]["Config"]["Labels"][
        "org.opencontainers.image.revision"
    ]
    assert box.get("/version").json()["commit"] == revision


def test_verify_passes_and_leaves_no_job(box: Box, say: Say) -> None:
    keys = {name: box.key(name) for name in KEY_NAMES}
    before = box.get("/v1/jobs?limit=100").json()
    checked = run_verify(VerifyOptions(box.url, keys, models_dir=ROOT / "models"))
    assert checked.passed, as_text(checked)
    measured = {check.name: check.measured for check in checked.checks}
    assert {check.name for check in checked.checks if check.verdict is Verdict.SKIP} == {"commit"}
    assert "XGBoost's own" in measured["job"]
    assert "of 475 MB" in measured["memory"]
    assert box.get("/v1/jobs?limit=100").json() == before
    say(f"verify of the container: {checked.seconds:.1f} s, {measured['memory']}, {measured['recycle']}")


@contextmanager
def watched(box: Box, say: Say, what: str) -> Iterator[None]:
    """Fail if the container takes too much memory meanwhile, or a worker dies."""
    before = box.log().count("exited: worker")  # verify has recycled one
    with peak_of(box.working_set_bytes) as peak:
        yield
    say(f"{what}: peak {peak.highest_mb:.0f} MB")
    assert LEAST_MB < peak.highest_mb < MOST_MB
    assert box.oom_kills() == 0
    assert box.log().count("exited: worker") == before


@pytest.mark.parametrize(("path", "prefer"), [("/v1/explain", "wait=60"), ("/v1/jobs", "")])
def test_four_requests_of_50000_rows_are_explained_in_512_mb(
    box: Box, say: Say, path: str, prefer: str
) -> None:
    version = MODELS.get("breast-cancer")
    rows = shaken_examples(version, ROWS)
    body = orjson.dumps({"model": version.id, "rows": rows}, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = {"Content-Type": "application/json", "Prefer": prefer}

    def explain(_: int) -> list[list[list[float]]]:
        """Have rows explained; if that takes too long for one call, fetch the result later."""
        answer = box.call("POST", path, body, headers=headers)
        if answer.status == 202:
            job = answer.headers["location"]
            while not box.get(f"{job}?wait=60").json()["finished_at"]:
                pass
            answer = box.get(f"{job}/result")
        assert answer.status == 200, answer
        values: list[list[list[float]]] = orjson.loads(answer.body)["values"]
        return values

    with watched(box, say, f"{REQUESTS} x POST {path}"), ThreadPoolExecutor(REQUESTS) as threads:
        answers = list(threads.map(explain, range(REQUESTS)))
    wanted = bare_explainer(version.model_path)(rows[:CHECKED])[:, :, :-1]
    for values in answers:
        assert len(values) == ROWS
        assert distance(np.array(values[:CHECKED], np.float32), wanted, base=False) <= EXACT


def test_a_large_jobs_summary_is_exact_and_every_plot_comes_in_both_forms(box: Box, say: Say) -> None:
    version = MODELS.get("diabetes")
    with watched(box, say, f"plots of {DRAWN_ROWS:,} rows"):
        job = Shapbox(box.url, box.api_key).submit(shaken_examples(version, DRAWN_ROWS), model=version.id)
        values = job.result().values

        def fetch(path: str, media_type: str) -> bytes:
            answer = box.get(f"/v1/jobs/{job.id}/{path}", headers={"Accept": media_type})
            assert answer.status == 200, answer
            return answer.body

        summary = orjson.loads(fetch("summary", "application/json"))
        for kind in ("bar", "beeswarm", "waterfall", "dependence"):
            assert fetch(f"plots/{kind}", "image/png").startswith(b"\x89PNG")
            drawn = ET.fromstring(fetch(f"plots/{kind}", "image/svg+xml"))
            assert "diabetes@1" in drawn.get("aria-label", "")
    for feature in summary["outputs"][0]["features"]:
        own = values[:, version.features.index(feature["feature"])].astype(np.float64)
        assert feature["mean_abs"] == pytest.approx(np.abs(own).mean(), abs=1e-5)
        assert feature["deviation"] == pytest.approx(own.std(), abs=1e-5)


def test_interventional_values_are_the_same_where_the_compiled_tables_are_lost(box: Box) -> None:
    def explain(rows: int) -> list[list[float]]:
        with Shapbox(box.url, box.api_key) as client:
            found = client.explain([ROW] * rows, model="diabetes", method="interventional")
        return [list(map(float, row)) for row in found.values]

    (compiled,) = explain(1)  # by the api itself: no worker maps the tables
    box.exec("sh", "-c", "rm /data/compiled/*-*-*.shaptables")
    assert explain(MOST_ROWS + 1) == [pytest.approx(compiled, abs=1e-3)] * (MOST_ROWS + 1)
    assert box.exec("sh", "-c", "grep -ls /shap/ /proc/[0-9]*/maps")
