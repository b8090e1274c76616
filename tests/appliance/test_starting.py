"""A first start: it answers from the first model's activation on until the api does."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ops.lab.trial_appliance import Appliance
from ops.verify.checks.access import reachable
from ops.verify.report import FailedError
from ops.verify.visit import VerifyOptions, Visit
from shapbox import NoAnswerError
from tests.appliance.conftest import MakeAppliance
from tests.support.activated import add_model
from tests.support.boosters import train
from tests.support.client import check_refusal, stopped, until

#: Models of which each takes the activation's children a second.
NAMES = ("first", "second")


def health(appliance: Appliance) -> dict[str, Any] | None:
    try:
        answer = appliance.get("/healthz", key="none")
    except NoAnswerError:
        return None
    assert answer.status == 200
    return {"status": "ok", **answer.json()}


def test_a_first_start_is_healthy_but_not_ready_names_the_model_and_never_refuses_a_connection(
    make_appliance: MakeAppliance, tmp_path: Path
) -> None:
    for name in NAMES:
        add_model(tmp_path / "models", train(depth=2, trees=2, features=3)[0], name)
    appliance = make_appliance(MODELS_DIR=str(tmp_path / "models"), API_KEY="k" * 20)
    (appliance.data_dir / "compiled").mkdir(parents=True)  # or those that other tests have compiled are taken
    with ThreadPoolExecutor(1) as thread:
        started = thread.submit(appliance.start)
        until("answering", lambda: health(appliance))
        assert appliance.process is not None
        with stopped(appliance.process.pid):  # the model in work ends, and no other one begins
            found = health(appliance)
            assert found is not None
            assert (found["status"], found["causes"]) == ("starting", [])
            assert "first@1" in found["detail"]
            for method, path in (("GET", "/readyz"), ("GET", "/v1/models"), ("POST", "/v1/explain")):
                refused = appliance.call(method, path, b"x" * 100_000 if method == "POST" else None)
                problem = check_refusal(refused, 503, "starting")
                assert "first@1" in problem["detail"]
            with pytest.raises(FailedError, match="is starting"):
                reachable(Visit(VerifyOptions(appliance.url)))
        seen = []
        while not started.done():
            seen.append(health(appliance))  # by a connection of its own
        started.result()
    assert None not in seen
    assert [one for one in seen if one and one["status"] == "starting"]
    assert appliance.get("/healthz").json() == {"status": "ok", "causes": []}
    steps = [line for line in appliance.log().splitlines() if "activating a model" in line]
    assert [
        name in line and f"{at} of 2" in line
        for at, (name, line) in enumerate(zip(NAMES, steps, strict=True), 1)
    ]
    [api] = appliance.pids_of("services.api")
    os.kill(api, signal.SIGKILL)
    until("listening by itself", lambda: set(appliance.pids_of("services.api")) - {api}, appliance=appliance)
    until("ready", appliance.is_ready, appliance=appliance)
