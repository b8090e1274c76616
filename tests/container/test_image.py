"""The content of the image."""

from __future__ import annotations

import json

import pytest

from ops.container.box import Box
from ops.container.engine import docker
from ops.container.image import commit, layers, report
from shared.build import ROOT, VERSION
from tests.container.conftest import Say

#: MB that the image may add to its base.
MOST_OVER_BASE_MB = 400
#: Programs that compile, install or test, which the image must not contain.
UNWANTED = ("cc", "gcc", "g++", "make", "ld", "pip", "pip3", "git", "pytest", "ruff", "redis-benchmark")


def inside(image: str, *words: str, options: tuple[str, ...] = ()) -> str:
    return docker("run", "--rm", *options, f"--entrypoint={words[0]}", image, *words[1:])


def test_the_image_adds_less_than_400_mb_to_its_base(image: str, say: Say) -> None:
    say(report(image))
    assert sum(layer.size for layer in layers(image)[1:]) < MOST_OVER_BASE_MB * 1e6


def test_every_layer_says_what_it_buys(image: str) -> None:
    assert [layer.buys for layer in layers(image)].count("the base image") == 1


def test_it_runs_as_a_plain_user_with_a_fixed_id(image: str) -> None:
    assert inside(image, "id").startswith("uid=10001(shapbox) gid=10001(shapbox)")


@pytest.mark.parametrize("program", UNWANTED)
def test_no_compiler_installer_or_test_tool_is_in_it(image: str, program: str) -> None:
    inside(image, "sh", "-c", f"! command -v {program}")


def test_nothing_is_in_it_that_only_building_or_testing_needs(image: str) -> None:
    look = r"""
        find /opt/shapbox/app -type d \( -name tests -o -name docs -o -name .git -o -name chaos -o -name soak \)
        find /opt/shapbox/venv -type d -name tests
        find /root /var/cache/apt/archives /var/lib/apt/lists -type f ! -name lock ! -name '.bashrc' ! -name '.profile'
        find /opt/shapbox -name 'pip' -o -name '*.pyi' -o -name '*.h'
    """
    # As root: what only root may read is in the image as well.
    assert inside(image, "sh", "-c", look, options=("--user=0",)) == ""


def test_shapbox_and_its_environment_belong_to_root_and_nobody_else_may_write(image: str) -> None:
    assert inside(image, "sh", "-c", r"find /opt \( ! -user root -o -perm /022 \) ! -type l") == ""


def test_the_compiled_engines_kernels_run_in_it_and_their_sources_are_not_there(image: str) -> None:
    look = "from shared.treeshap.library import find_library; print(find_library().kernels()[-1].name)"
    assert inside(image, "python", "-c", look).strip() == "PORTABLE"
    assert inside(image, "sh", "-c", "ls /opt/shapbox/app/shared/treeshap/native").split() == ["treeshap.so"]


def test_its_labels_say_version_and_commit(image: str) -> None:
    labels = json.loads(docker("inspect", image))[0]["Config"]["Labels"]
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.revision"] == commit()


def test_it_names_its_licence_and_carries_its_text(image: str) -> None:
    labels = json.loads(docker("inspect", image))[0]["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert inside(image, "cat", "/opt/shapbox/app/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_all_modules_are_compiled_so_that_a_start_compiles_nothing(image: str) -> None:
    count = r"""
        cd /opt/shapbox/app && for file in $(find . -name '*.py'); do
            test -f "$(dirname "$file")/__pycache__/$(basename "$file" .py).cpython-313.pyc" || echo "$file"
        done
    """
    assert inside(image, "sh", "-c", count) == ""


def test_supervisord_is_process_1_with_no_shell_above_its_programs(box: Box) -> None:
    assert box.exec("cat", "/proc/1/cmdline").split("\0")[:3] == [
        "/opt/shapbox/venv/bin/python",
        "-m",
        "ops.run.supervision",
    ]
    names = box.exec("sh", "-c", "cat /proc/[0-9]*/comm").split()
    assert names.count("sh") == 1, names  # the one that looks


def test_version_tells_the_commit_that_the_image_was_built_from(box: Box) -> None:
    assert box.get("/version").json()["commit"] == commit()
