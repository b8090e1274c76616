"""The image as Render runs it: started as root on root's disk, with nothing left of root."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ops.container.box import Box
from ops.container.engine import docker, docker_streams
from ops.run.plain_user import CAPABILITIES
from shared.build import ROOT
from tests.container.conftest import TAG, MakeBox
from tests.support.faults.submitted import submit

#: The capabilities of the plain image for the first moment of a boot as root.
CAPABLE = tuple(f"--cap-add={name}" for name in CAPABILITIES)
LOOK = "for status in /proc/[0-9]*/status; do cat $status 2>/dev/null; done; true"


@pytest.fixture(scope="module")
def rendered_image(image: str) -> str:
    """Build the image with render.yaml's variables, as Render does; mostly from the cache."""
    del image  # it asks for the engine
    service = yaml.safe_load((ROOT / "render.yaml").read_text())["services"][0]
    given = [item for item in service["envVars"] if "value" in item]
    arguments = [f"--build-arg={item['key']}={item['value']}" for item in given]
    tag = f"{TAG}-for-render"
    docker("build", "--network", "host", "--tag", tag, *arguments, str(ROOT), seconds=None)
    return tag


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    disk = tmp_path / "disk"
    (disk / "lost+found").mkdir(parents=True, mode=0o700)
    (disk / "objects").mkdir()  # as a backup that root has restored
    for folder in (disk, disk / "objects"):
        folder.chmod(0o755)
    return disk


@pytest.mark.parametrize("owned_by_root", [True, False])
def test_everything_runs_as_the_plain_user_and_works(
    rendered_image: str, make_box: MakeBox, disk: Path, *, owned_by_root: bool
) -> None:
    box = make_box(*CAPABLE, API_KEY="an-api-key-of-the-tests")
    box.image = rendered_image
    if owned_by_root:
        box.volume = str(disk)
    box.run()
    box.await_ready()
    _check_without_root(box)
    submit(box, "breast-cancer", 600).check_completed()
    assert box.exec("python", "-m", "ops.run.healthcheck") == "well\n"
    box.stop()
    assert box.state()["ExitCode"] == 0


def test_without_the_right_to_give_a_disk_away_it_is_refused_with_the_remedy(
    rendered_image: str, disk: Path
) -> None:
    words = ["run", "--rm", "--cap-drop=ALL", f"--volume={disk}:/data"]
    assert "CHOWN, SETUID, SETGID" in docker_streams(*words, rendered_image)
    assert "Root cannot become user 10001" in docker_streams(*words, "--cap-add=CHOWN", rendered_image)


def _check_without_root(box: Box) -> None:
    """Fail unless every other process has the plain user's ids and no way to others."""
    texts = re.split(r"(?m)^(?=Name:)", box.exec("sh", "-c", LOOK))
    found = [dict(re.findall(r"^(\w+):[ \t]*(.*)$", text, re.MULTILINE)) for text in texts if text]
    ours = [process for process in found if process["Name"] not in {"sh", "cat"}]
    assert len(ours) >= 5
    for process in ours:
        assert process["Uid"].split() == process["Gid"].split() == ["10001"] * 4, process["Name"]
        assert process["Groups"].strip() == "", process["Name"]
        assert process["NoNewPrivs"] == "1", process["Name"]
        assert int(process["CapEff"], 16) == int(process["CapPrm"], 16) == 0, process["Name"]
