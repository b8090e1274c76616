"""The options, the output and the words of a deploy."""

from __future__ import annotations

import io
from functools import partial

import pytest

from ops.render.calls import RenderError
from ops.render.client import Deploy, Service
from ops.render.deploy import deploy
from ops.render.display import HIDDEN, Display, run_tool
from ops.render.options import ExitCode, Options
from shared.errors import SettingsError

KEY = "rnd_0123456789"
HOOK = "https://api.render.example/deploy/srv-1?key=a-hooks-key-0123456789"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_secrets_are_taken_out_also_where_one_lies_within_another() -> None:
    output = io.StringIO()
    display = Display(output)
    display.hide(HOOK, "a-hooks-key-0123456789", "short")
    display.say(f"{HOOK} a-hooks-key-0123456789 short")
    assert output.getvalue() == f"{HIDDEN} {HIDDEN} short\n"


def test_a_terminal_has_one_rewritten_line_and_a_log_a_line_for_each_change() -> None:
    written = []
    for output in (io.StringIO(), Terminal()):
        display = Display(output)
        for text in ("is being built", "is being built", "is live"):
            display.show(text)
        display.say("Done.")
        written.append(output.getvalue().replace("  0:0", ""))
    log, terminal = written
    assert [line[1:] for line in log.splitlines()] == ["  is being built", "  is live", "one."]
    assert terminal.count("\r\033[K") == 3
    assert terminal.endswith("is live\nDone.\n")


def test_the_representation_of_the_options_holds_no_secret() -> None:
    environment = {"RENDER_API_KEY": KEY, "RENDER_DEPLOY_HOOK": HOOK, "API_KEY": "an-api-key-0123456789"}
    options = Options.read(environment, "shapbox", deploying=True)
    assert all(secret not in repr(options) for secret in options.secrets)
    assert len(options.secrets) == 4


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RENDER_DEPLOY_HOOK": "https://api.render.example/deploy/srv-1"}, "is no deploy hook"),
        ({"RENDER_API_KEY": KEY, "RENDER_HOST": "api.render.example"}, "RENDER_HOST is no address"),
        ({"RENDER_API_KEY": KEY, "URL": "shapbox.example"}, "URL is no address"),
        ({"RENDER_API_KEY": KEY, "DEPLOY_MINUTES": "soon"}, "DEPLOY_MINUTES is 'soon'"),
        ({"RENDER_API_KEY": KEY}, "SERVICE is not set"),
    ],
)
def test_an_option_that_cannot_be_used_is_told(environment: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Options.read(environment, None, deploying=True)


def test_an_answer_that_is_no_deploy_or_service_is_told_so() -> None:
    documents: tuple[object, ...] = (None, [], {}, {"id": 3}, "dep-1")
    for document in documents:
        for read in (Deploy.read, partial(Service, None)):  # type: ignore[arg-type]  # it is not called
            with pytest.raises(RenderError, match="Its API has changed"):
                read(document)


def test_an_unexpected_fault_is_shown_without_the_secret_in_its_text() -> None:
    def fail(_environment: object, display: Display, _root: object) -> ExitCode:
        """Fail."""
        display.hide(KEY)
        raise ValueError(f"nobody expected {KEY}")

    output = io.StringIO()
    assert run_tool(fail, [], {}, output) == 1
    assert "ValueError" in output.getvalue()
    assert KEY not in output.getvalue()


def test_a_key_on_makes_own_command_line_is_warned_of() -> None:
    output = io.StringIO()
    assert run_tool(deploy, [], {"MAKEFLAGS": f" -- RENDER_API_KEY={KEY}"}, output) == 2
    assert "make's own command line" in output.getvalue()
    assert KEY not in output.getvalue()
