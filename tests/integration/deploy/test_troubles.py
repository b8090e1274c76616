"""`python -m ops.render.deploy` with network faults, a busy or broken Render, and weak keys."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.deploy.conftest import Deployer, hook_settings, without_secrets
from tests.integration.deploy.fake_render import HOOK_KEY, KEY, READING_KEY, FakeRender, Trouble

DEPLOYS, ONE_DEPLOY = r"/deploys$", r"/deploys/dep-"


def test_questions_are_asked_again_whatever_has_kept_them_from_being_answered(
    deployer: Deployer, render: FakeRender
) -> None:
    render.troubles = [
        Trouble("GET", "/services$", 503, body='{"message": "maintenance"}', times=2),
        Trouble("GET", ONE_DEPLOY, times=3),  # dropped
        Trouble("GET", ONE_DEPLOY, 500, body="<html>"),
        Trouble("GET", ONE_DEPLOY, 502),
        Trouble("GET", ONE_DEPLOY, 200, body="<html>a proxy's page</html>"),
    ]
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert render.orders() == 1
    assert [trouble.times for trouble in render.troubles] == [0] * 5
    assert "This address is not Render's API" in done.stdout


def test_a_deploy_is_followed_to_its_end_though_render_is_away_for_longer_than_a_question_waits(
    deployer: Deployer, render: FakeRender
) -> None:
    render.troubles = [Trouble("GET", ONE_DEPLOY, times=14)]
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert "6 times in a row" in done.stdout
    assert (render.orders(), render.troubles[0].times) == (1, 0)


def test_a_render_that_never_answers_is_given_up_with_what_to_do(
    deployer: Deployer, render: FakeRender
) -> None:
    render.troubles = [Trouble("GET", ".", times=1000)]
    done = deployer.run()
    assert done.returncode == 1
    assert "cannot be reached" in done.stdout
    assert "Try again later" in done.stdout
    assert render.orders() == 0


def test_rate_limits_are_waited_out_as_long_as_each_says(deployer: Deployer, render: FakeRender) -> None:
    render.troubles = [
        Trouble("POST", DEPLOYS, 429, {"Retry-After": "1"}),
        Trouble("POST", DEPLOYS, 429, {"Ratelimit-Reset": "1"}),
    ]
    started = time.monotonic()
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("429") >= 1
    assert time.monotonic() - started >= 2
    assert render.orders() == 3
    assert len(render.deploys) == 1


def test_a_rate_limit_that_asks_for_too_much_is_told(deployer: Deployer, render: FakeRender) -> None:
    render.troubles = [Trouble("POST", DEPLOYS, 429, {"Retry-After": "3600"})]
    done = deployer.run()
    assert done.returncode == 1
    assert "asks to wait for 3600 s" in done.stdout


@pytest.mark.parametrize(
    "trouble",
    [Trouble("POST", DEPLOYS, done=True), Trouble("POST", DEPLOYS, done=True, status=500)],
    ids=["no answer", "no answer, and an error"],
)
def test_an_order_that_was_carried_out_without_an_answer_is_not_given_again(
    trouble: Trouble, deployer: Deployer, render: FakeRender
) -> None:
    render.add_deploy("0" * 40, status="live")
    render.troubles = [trouble]
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert "looking whether it has begun" in done.stdout
    assert render.orders() == 1
    assert len(render.deploys) == 2


@pytest.mark.parametrize(
    "trouble", [Trouble("POST", DEPLOYS), Trouble("POST", DEPLOYS, 500)], ids=["no answer", "500"]
)
def test_an_order_that_was_not_heard_is_given_again(
    trouble: Trouble, deployer: Deployer, render: FakeRender
) -> None:
    render.troubles = [trouble]
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert render.orders() == 2
    assert len(render.deploys) == 1


def test_an_older_deploy_of_the_same_commit_is_not_taken_for_the_one_that_was_ordered(
    deployer: Deployer, render: FakeRender
) -> None:
    render.add_deploy(deployer.checkout.head, status="build_failed")
    render.troubles = [Trouble("POST", DEPLOYS)]
    done = deployer.run()
    assert done.returncode == 0, done.stdout
    assert [deploy.status for deploy in render.deploys] == ["live", "build_failed"]


@pytest.mark.parametrize(
    ("key", "said"), [("rnd_nobodys-key-0123456789", "does not know this"), (READING_KEY, "may not do that")]
)
def test_a_key_without_rights_is_told_so(key: str, said: str, deployer: Deployer, render: FakeRender) -> None:
    done = deployer.run(RENDER_API_KEY=key)
    assert done.returncode == 1
    assert said in done.stdout
    assert render.deploys == []
    assert without_secrets(done.stdout, (key,))


def test_an_order_that_render_refuses_is_told_in_its_own_words(
    deployer: Deployer, render: FakeRender
) -> None:
    render.troubles = [Trouble("POST", DEPLOYS, 400, body='{"message": "commit not found in repository"}')]
    done = deployer.run()
    assert done.returncode == 1
    assert "commit not found in repository" in done.stdout
    assert render.orders() == 1


def test_a_missing_setting_is_told_with_what_to_do(deployer: Deployer, tmp_path: Path) -> None:
    done = deployer.run(RENDER_API_KEY="", ROLLBACK="perhaps", RENDER_DEPLOY_HOOK_FILE=str(tmp_path / "none"))
    assert done.returncode == 2
    for said in ("RENDER_API_KEY is not set", "Account Settings", "ROLLBACK is 'perhaps'", "cannot be read"):
        assert said in done.stdout


def test_keys_that_nobody_can_know_are_missed_before_and_not_after_the_deploy(
    deployer: Deployer, render: FakeRender
) -> None:
    render.url, render.variables = "http://127.0.0.1:9", {"API_KEY": "an-api-key-0123456789"}
    done = deployer.run(VERIFY="yes", ADMIN_API_KEY="an-admin-key-0123456789")
    assert (done.returncode, render.orders()) == (1, 0)
    assert "METRICS_TOKEN: neither set here nor to be read" in done.stdout


def test_no_secret_is_on_any_command_line_or_in_a_log_that_repeats_it(
    deployer: Deployer, render: FakeRender, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(f"{KEY}\n")
    render.script = ("created", *["build_in_progress"] * 20, "build_failed")
    render.logs["build"] = [f"env RENDER_API_KEY={KEY}"]
    git_calls = tmp_path / "git-calls"
    path = _git_that_notes_its_command_lines(tmp_path / "bin", git_calls)
    seen: set[str] = set()
    over = threading.Event()
    watch = threading.Thread(target=_collect_command_lines, args=(seen, over))
    watch.start()
    try:
        done = deployer.run(
            RENDER_API_KEY="", RENDER_API_KEY_FILE=str(key_file), PREFLIGHT="yes", IMAGE="no", PATH=path
        )
    finally:
        over.set()
        watch.join()
    assert "env RENDER_API_KEY=[secret]" in done.stdout
    assert any("ops.render.deploy" in line for line in seen)
    seen.update(git_calls.read_text().splitlines())
    assert any("ls-remote" in line for line in seen)
    assert without_secrets("\n".join(seen))


def _git_that_notes_its_command_lines(folder: Path, log: Path) -> str:
    """Return a PATH that begins with it: git exits too soon to be seen among processes."""
    git = shutil.which("git")
    assert git is not None
    folder.mkdir()
    shim = folder / "git"
    shim.write_text(f'#!/bin/sh\nprintf "%s\\n" "git $*" >> "{log}"\nexec "{git}" "$@"\n')
    shim.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def _collect_command_lines(seen: set[str], over: threading.Event) -> None:
    while not over.wait(0.002):
        for process in psutil.process_iter():
            try:
                seen.add(" ".join(process.cmdline()))
            except psutil.Error:
                continue


def test_a_hook_that_is_refused_is_told_without_showing_it(deployer: Deployer) -> None:
    settings = dict(hook_settings(deployer, "http://127.0.0.1:9"))
    settings["RENDER_DEPLOY_HOOK"] = settings["RENDER_DEPLOY_HOOK"].replace(
        HOOK_KEY, "anothers-key-0123456789"
    )
    done = deployer.run(**settings)
    assert done.returncode == 1
    assert "does not know this RENDER_DEPLOY_HOOK (401)" in done.stdout
    assert "anothers-key" not in done.stdout


def test_a_hook_without_an_address_or_keys_is_missed_beforehand(deployer: Deployer) -> None:
    done = deployer.run(**hook_settings(deployer, ""), VERIFY="yes")
    assert done.returncode == 2
    assert "URL is not set" in done.stdout
    assert "API_KEY, ADMIN_API_KEY, METRICS_TOKEN not set" in done.stdout
