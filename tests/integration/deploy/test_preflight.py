"""`python -m ops.render.preflight` on real repositories: all faults at once, with remedies."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.render.blueprint import read_blueprint
from ops.render.display import run_tool
from ops.render.options import Options
from ops.render.preflight import check_blueprint, check_models, preflight, run_preflight
from ops.render.repository import check_pushed, check_tree
from ops.verify.report import FailedError, Verdict
from tests.integration.deploy.conftest import Checkout, Deployer
from tests.integration.deploy.fake_render import KEY, FakeRender, Trouble


@pytest.fixture
def clone(checkout: Checkout, tmp_path: Path) -> Checkout:
    """Make a clone and a remote for a test to spoil."""
    made, remote = Checkout(tmp_path / "clone"), tmp_path / "remote.git"
    checkout.git("clone", "-q", "--bare", str(checkout.folder), str(remote))
    checkout.git("clone", "-q", str(remote), str(made.folder))
    return made


def test_everything_that_is_wrong_is_told_at_once_and_ends_with_1(clone: Checkout) -> None:
    next((clone.folder / "models" / "diabetes").glob("*/model.ubj")).write_bytes(b"damaged")
    blueprint = clone.folder / "render.yaml"
    blueprint.write_text(blueprint.read_text().replace("'off'", "off").replace("sizeGB: 1", "sizeGB: 0"))
    clone.git("commit", "-q", "-am", "all of it wrong")
    for number in range(7):
        (clone.folder / f"untracked-{number}").touch()
    output = io.StringIO()
    assert run_tool(preflight, [], {"IMAGE": "no"}, output, clone.folder) == 1
    told = output.getvalue()
    failed = [line.split()[1] for line in told.splitlines() if line.startswith("FAIL")]
    assert failed == ["tree", "pushed", "models", "blueprint"]
    for said in (
        "7 files differ",
        "untracked-4 and 2 more",
        "git push origin",
        "diabetes@1",
        "unquoted off",
        "sizeGB is 0",
    ):
        assert said in " ".join(told.split())  # without line breaks
    assert told.count("> ") >= len(failed)
    assert run_tool(preflight, [], {"IMAGE": "perhaps"}, output, clone.folder) == 2
    assert "placeholders will answer" in check_models(clone.folder / "models", fallback_allowed=True)


def test_a_check_that_breaks_keeps_no_other_from_being_made(clone: Checkout) -> None:
    (clone.folder / "render.yaml").write_text("services:\n  - type: web\n    envVars: 3\n    disk: 4\n")
    # prose: allow "elsewhere": a folder's name
    (clone.folder / "models").rename(clone.folder / "elsewhere")
    results = run_preflight(Options(image=False), clone.folder)
    assert [result.name for result in results] == ["tree", "pushed", "models", "blueprint", "blueprint"]
    assert results[2].verdict is Verdict.FAIL
    for check in (check_tree, check_pushed):
        with pytest.raises(FailedError, match="commit"):
            check(clone.folder.parent)  # no clone


def no_remote(clone: Checkout) -> None:
    clone.git("remote", "remove", "origin")


def gone(clone: Checkout) -> None:
    clone.git("remote", "set-url", "origin", str(clone.folder.with_name("gone.git")))


def behind(clone: Checkout) -> None:
    clone.commit()
    clone.git("push", "-q")
    clone.git("reset", "-q", "--hard", "HEAD~1")


@pytest.mark.parametrize(
    ("changes", "said", "remedy"),
    [
        ((Checkout.commit,), "does not have", "git push origin HEAD:main"),
        ((lambda clone: clone.git("switch", "-q", "-c", "mine"),), "mine", "git push -u origin mine"),
        ((no_remote,), "has no remote branch", "git push -u origin main"),
        ((behind,), "origin/main has", ""),
        ((gone,), "does not answer; when it last did, origin/main has", ""),
        ((gone, Checkout.commit), "when it last did, origin/main does not have", "git push origin HEAD:main"),
    ],
    ids=["ahead", "branch", "no remote", "behind", "gone", "gone and ahead"],
)
def test_the_commit_must_be_where_render_can_fetch_it(
    changes: tuple[Callable[[Checkout], object], ...], said: str, remedy: str, clone: Checkout
) -> None:
    for change in changes:
        change(clone)
    if not remedy:
        assert said in check_pushed(clone.folder)
        return
    with pytest.raises(FailedError, match=said) as failed:
        check_pushed(clone.folder)
    assert remedy in failed.value.remedy


def test_render_is_asked_as_well_where_a_key_is_given(deployer: Deployer, render: FakeRender) -> None:
    folder = deployer.checkout.folder
    blueprint = read_blueprint(folder / "render.yaml", folder)
    options = Options(
        "other", KEY, host=deployer.host, deploy_poll_seconds=0.01
    )  # no such service: the only workspace
    assert "and by Render's" in check_blueprint(blueprint, options)
    render.blueprint_errors = [{"path": "services[0].plan", "error": "unknown plan", "line": 9}]
    with pytest.raises(FailedError, match=r"Render: services\[0\].plan: unknown plan"):
        check_blueprint(blueprint, options)
    render.troubles = [Trouble("POST", "validate", 500, times=10)]
    assert "Render could not be asked" in check_blueprint(blueprint, options)
