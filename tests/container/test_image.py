"""The content of the image."""

from __future__ import annotations

import json
import re

import pytest

from ops.container.box import Box
from ops.container.engine import docker
from ops.container.image import commit, layers, report
from shared.build import ROOT, VERSION
from tests.container.conftest import Say

#: MB that the image may add to its base.
MOST_OVER_BASE_MB = 400
#: Each prints what must not be in the image.
UNWANTED = {
    # Programs that compile, install or test.
    "tools": "for name in cc gcc g++ make ld pip pip3 git pytest ruff redis-benchmark; do command -v $name; done; true",
    # Files that only building or testing needs, as root: what only root may read is in the image as well.
    "files": r"""
        find /opt/shapbox/app -type d \( -name tests -o -name docs -o -name .git \)
        find /opt/shapbox/venv -type d -name tests
        find /root /var/cache/apt/archives /var/lib/apt/lists -type f ! -name lock ! -name '.bashrc' ! -name '.profile'
        find /opt/shapbox -name 'pip' -o -name '*.pyi' -o -name '*.h' -o -name '*.lock'
    """,
    # Files and folders that root does not own, or that others may write.
    "owners": r"find /opt \( ! -user root -o -perm /022 \) ! -type l",
    # Modules that a start would have to compile.
    "sources": r"""
        cd /opt/shapbox/app && for file in $(find . -name '*.py'); do
            test -f "$(dirname "$file")/__pycache__/$(basename "$file" .py).cpython-313.pyc" || echo "$file"
        done
    """,
}


def inside(image: str, *words: str) -> str:
    return docker("run", "--rm", "--user=0", f"--entrypoint={words[0]}", image, *words[1:])


def test_the_image_adds_less_than_400_mb_to_its_base_and_every_layer_says_what_it_buys(
    image: str, say: Say
) -> None:
    say(report(image))
    found = layers(image)
    assert sum(layer.size for layer in found[1:]) < MOST_OVER_BASE_MB * 1e6
    assert [layer.buys for layer in found].count("the base image") == 1


@pytest.mark.parametrize("what", UNWANTED)
def test_nothing_is_in_it_that_must_not_be(image: str, what: str) -> None:
    assert inside(image, "sh", "-c", UNWANTED[what]) == ""


def test_of_our_folders_it_holds_services_shared_models_and_what_it_runs(image: str) -> None:
    look = "cd /opt/shapbox/app && echo * ops/* && ls shared/treeshap/native"
    assert set(inside(image, "sh", "-c", look).split()) - {"ops/__pycache__"} == {
        "LICENSE",
        "models",
        "ops",
        "ops/__init__.py",
        "ops/run",
        "services",
        "shared",
        "supervisord.conf",
        "treeshap.so",
    }
    kernels = "from shared.treeshap.library import find_library; print(find_library().kernels()[-1].name)"
    assert inside(image, "python", "-c", kernels).strip() == "PORTABLE"
    assert inside(image, "cat", "LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_its_configuration_names_user_version_commit_and_licence(image: str) -> None:
    configuration = json.loads(docker("inspect", image))[0]["Config"]
    labels = configuration["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.revision"] == commit()
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert configuration["User"] == "10001:10001"
    assert inside(image, "id", "shapbox").startswith("uid=10001(shapbox) gid=10001(shapbox)")


def test_its_sbom_lists_the_locked_packages_with_their_versions(image: str) -> None:
    labels = json.loads(docker("inspect", image))[0]["Config"]["Labels"]
    sbom = json.loads(inside(image, "cat", labels["shapbox.sbom"]))
    look = "import importlib.metadata as m; print(*{d.name for d in m.distributions()})"
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", lock, re.MULTILINE))
    listed = {(one["name"].lower().replace("_", "-"), one["version"]) for one in sbom["components"]}
    assert sbom["bomFormat"] == "CycloneDX"
    assert listed <= locked  # which names packages of other platforms, too
    installed = inside(image, "python", "-c", look).lower().replace("_", "-").split()
    assert {name for name, _ in listed} == set(installed)


def test_supervisord_is_process_1_with_no_shell_above_its_programs(box: Box) -> None:
    assert box.exec("cat", "/proc/1/cmdline").split("\0")[:3] == [
        "/opt/shapbox/venv/bin/python",
        "-m",
        "ops.run.supervision",
    ]
    names = box.exec("sh", "-c", "cat /proc/[0-9]*/comm").split()
    assert names.count("sh") == 1, names  # the one that looks
    assert box.get("/version").json()["commit"] == commit()
