"""The image as Render runs it: started as root on root's disk, with nothing left of root."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from ops.container.box import Box
from ops.container.engine import docker_streams
from ops.run.plain_user import CAPABILITIES
from shared.build import ROOT
from tests.container.conftest import TAG, MakeBox, build
from tests.support.faults.submitted import submit

LOOK = "for status in /proc/[0-9]*/status; do cat $status 2>/dev/null; done; true"


def test_on_a_disk_of_roots_everything_runs_as_the_plain_user_or_the_start_is_refused(
    make_box: MakeBox, tmp_path: Path
) -> None:
    # Render makes a build argument of each of the service's variables.
    service = yaml.safe_load((ROOT / "render.yaml").read_text())["services"][0]
    tag = f"{TAG}-for-render"
    build(tag, ROOT, **{item["key"]: item["value"] for item in service["envVars"] if "value" in item})
    disk = tmp_path / "disk"
    (disk / "lost+found").mkdir(parents=True, mode=0o700)
    (disk / "objects").mkdir()  # as a backup that root has restored
    for folder in (disk, disk / "objects"):
        folder.chmod(0o755)
    words = ["run", "--rm", "--cap-drop=ALL", f"--volume={disk}:/data"]
    assert "CHOWN, SETUID, SETGID" in docker_streams(*words, tag)
    assert "Root cannot become user 10001" in docker_streams(*words, "--cap-add=CHOWN", tag)

    box = make_box(*(f"--cap-add={name}" for name in CAPABILITIES), API_KEY="an-api-key-of-the-tests")
    box.image, box.volume = tag, str(disk)
    box.run()
    box.await_ready()
    check_without_root(box)
    submit(box, "breast-cancer", 600).check_completed()
    assert box.exec("python", "-m", "ops.run.healthcheck") == "well\n"
    box.stop()
    assert box.state()["ExitCode"] == 0


def check_without_root(box: Box) -> None:
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
