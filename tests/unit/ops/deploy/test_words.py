"""The output and the questions of a deploy."""

from __future__ import annotations

import io

import pytest

from ops.render.deploy import __main__ as entry
from ops.render.deploy.creation import how_to_create, web_address
from ops.render.deploy.display import Display
from ops.render.deploy.options import DeployOptions
from ops.render.deploys import MEANING, Deploy, Status
from ops.render.errors import RenderError
from ops.render.reading import OptionsError
from ops.render.redactor import HIDDEN, Redactor
from ops.render.service import Service

KEY = "rnd_0123456789"
HOOK = "https://api.render.example/deploy/srv-1?key=a-hooks-key-0123456789"


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@git.example:me/shapbox.git", "https://git.example/me/shapbox"),
        ("ssh://git@git.example:2222/me/shapbox.git", "https://git.example/me/shapbox"),
        ("https://me:password@git.example/me/shapbox.git/", "https://git.example/me/shapbox"),
        ("https://git.example/me/shapbox", "https://git.example/me/shapbox"),
        ("/srv/git/shapbox.git", None),
        ("../shapbox", None),
    ],
)
def test_a_remote_becomes_an_address_for_the_browser_without_anybodys_password(
    remote: str, address: str | None
) -> None:
    assert web_address(remote) == address


def test_the_steps_to_a_service_name_the_repository_or_leave_room_for_it() -> None:
    assert "repo=https://git.example/me/shapbox\n" in how_to_create("shapbox", "git@git.example:me/shapbox")
    assert "repo=ADDRESS-OF-YOUR-REPOSITORY\n" in how_to_create("shapbox", None)


def test_secrets_are_taken_out_also_where_one_lies_within_another() -> None:
    redactor = Redactor([HOOK, "a-hooks-key-0123456789", "short"])
    cleaned = redactor.clean(f"{HOOK} a-hooks-key-0123456789 short")
    assert cleaned == f"{HIDDEN} {HIDDEN} short"


def test_where_it_is_no_terminal_only_changes_are_shown() -> None:
    output = io.StringIO()
    display = Display(Redactor(), output)
    for text in ("is being built", "is being built", "is live"):
        display.show(text)
    display.glimpse("verifying")
    assert output.getvalue() == "  0:00  is being built\n  0:00  is live\n"


def test_the_representation_of_the_options_holds_no_secret() -> None:
    environment = {"RENDER_API_KEY": KEY, "RENDER_DEPLOY_HOOK": HOOK, "API_KEY": "an-api-key-0123456789"}
    options = DeployOptions.read(environment, "shapbox")
    assert all(secret not in repr(options) for secret in options.secrets)
    assert len(options.secrets) == 4


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "RENDER_API_KEY is not set"),
        ({"RENDER_DEPLOY_HOOK": "https://api.render.example/deploy/srv-1"}, "is no deploy hook"),
        ({"RENDER_API_KEY": KEY, "RENDER_HOST": "api.render.example"}, "RENDER_HOST is no address"),
        ({"RENDER_API_KEY": KEY, "URL": "shapbox.example"}, "URL is no address"),
        ({"RENDER_API_KEY": KEY, "DEPLOY_MINUTES": "soon"}, "DEPLOY_MINUTES is no number"),
        ({"RENDER_API_KEY": KEY, "VERIFY": "nope"}, "VERIFY is 'nope'"),
    ],
)
def test_what_cannot_be_used_is_told(environment: dict[str, str], said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        DeployOptions.read(environment, "shapbox")


def test_a_service_that_nobody_names_is_the_blueprints() -> None:
    assert DeployOptions.read({"RENDER_API_KEY": KEY}, "shapbox").service == "shapbox"
    assert DeployOptions.read({"RENDER_API_KEY": KEY, "SERVICE": "other"}, "shapbox").service == "other"
    with pytest.raises(OptionsError, match="SERVICE is not set"):
        DeployOptions.read({"RENDER_API_KEY": KEY}, None)


def test_every_state_has_a_meaning() -> None:
    assert set(MEANING) == set(Status)


@pytest.mark.parametrize("document", [None, [], {}, {"id": 3}, "dep-1"])
def test_an_answer_that_is_no_deploy_or_service_is_told_so(document: object) -> None:
    with pytest.raises(RenderError, match="Its API has changed"):
        Deploy.read(document)
    with pytest.raises(RenderError, match="Its API has changed"):
        Service.read(document)


def test_an_unexpected_fault_is_shown_without_the_secret_in_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_environment: object, redactor: Redactor, _display: object) -> int:
        redactor.add(KEY)
        raise ValueError(f"nobody expected {KEY}")

    monkeypatch.setattr(entry, "_main", fail)
    monkeypatch.setattr("sys.argv", ["ops.render.deploy"])
    assert entry.main() == 1
    shown = capsys.readouterr().out
    assert "ValueError" in shown
    assert KEY not in shown


def test_a_key_on_makes_own_command_line_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["ops.render.deploy"])
    monkeypatch.setenv("MAKEFLAGS", f" -- RENDER_API_KEY={KEY}")
    for name in ("RENDER_API_KEY", "RENDER_API_KEY_FILE", "RENDER_DEPLOY_HOOK"):
        monkeypatch.delenv(name, raising=False)
    assert entry.main() == 2
    shown = capsys.readouterr().out
    assert "make's own command line" in shown
    assert KEY not in shown
