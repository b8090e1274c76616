"""The preflight's trial of the image: it passes here, and fails if it cannot start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.container.engine import docker_succeeds
from ops.render.blueprint import Blueprint, read_blueprint
from ops.render.image_trial import TAG, check_image
from ops.verify.report import FailedError
from shared.build import ROOT
from tests.container.conftest import Say

#: Seconds at work: the preflight itself takes sixty.
SECONDS = 3.0


@pytest.fixture
def blueprint(image: str) -> Blueprint:
    del image  # it asks for the engine
    return read_blueprint(ROOT / "render.yaml", ROOT)


def test_the_image_passes_at_work_on_a_disk_of_roots_and_leaves_nothing(
    blueprint: Blueprint, say: Say
) -> None:
    seen = check_image(blueprint, ROOT, SECONDS)
    say(seen)
    assert "built; ready in" in seen
    assert not docker_succeeds("container", "inspect", TAG)


def test_an_image_that_does_not_start_on_renders_disk_fails_with_boots_own_words(
    blueprint: Blueprint,
) -> None:
    service = dict(blueprint.services["shapbox"])
    service["envVars"] = [item for item in service["envVars"] if item["key"] != "SHAPBOX_BOOT_USER"]
    with pytest.raises(FailedError, match="chown -R 10001:10001 /data"):
        check_image(replace(blueprint, services={"shapbox": service}), ROOT, SECONDS)
