"""`python -m ops.render.preflight` on real repositories: all faults at once, with remedies."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.render.blueprint import read_blueprint
from ops.render.client import Render
from ops.render.options import Options
from ops.render.preflight import check_blueprint, check_fallback, check_models, passed, run_preflight
from ops.render.repository import Repository, check_pushed, check_tree
from ops.verify.report import FailedError, Verdict, table
from tests.integration.deploy.conftest import Checkout, Deployer
from tests.integration.deploy.fake_render import KEY, FakeRender, Trouble

NAMES = ["tree", "pushed", "models", "no placeholders", "blueprint", "blueprint", "image"]


@pytest.fixture
def clone(checkout: Checkout, tmp_path: Path) -> Checkout:
    """Make a clone and a remote for a test to spoil."""
    made, remote = Checkout(tmp_path / "clone"), tmp_path / "remote.git"
    checkout.git("clone", "-q", "--bare", str(checkout.folder), str(remote))
    checkout.git("clone", "-q", str(remote), str(made.folder))
    return made


def commit(clone: Checkout) -> None:
    clone.git("commit", "-q", "--allow-empty", "-m", "not pushed")


def test_a_clean_clone_passes(clone: Checkout) -> None:
    results = run_preflight(Options(image=False), clone.folder)
    assert passed(results), table(results)
    assert [result.name for result in results] == NAMES
    assert results[-1].verdict is Verdict.SKIP


def test_everything_that_is_wrong_is_told_at_once_and_ends_with_1(clone: Checkout) -> None:
    model = next((clone.folder / "models" / "diabetes").glob("*/model.ubj"))
    model.write_bytes(b"damaged")
    blueprint = clone.folder / "render.yaml"
    blueprint.write_text(blueprint.read_text().replace("'off'", "off").replace("sizeGB: 1", "sizeGB: 0"))
    clone.git("commit", "-q", "-am", "all of it wrong")
    (clone.folder / "untracked").touch()
    done = subprocess.run(
        [sys.executable, "-m", "ops.render.preflight"],
        cwd=clone.folder,
        env={"PATH": "/usr/bin:/bin", "IMAGE": "no"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert failed == ["tree", "pushed", "models", "blueprint"]
    for said in ("untracked", "git push origin", "diabetes@1", "unquoted off", "sizeGB is 0"):
        assert said in done.stdout
    assert done.stdout.count("> ") >= len(failed)


def test_a_check_that_breaks_keeps_no_other_from_being_made(clone: Checkout) -> None:
    (clone.folder / "render.yaml").write_text("services:\n  - type: web\n    envVars: 3\n    disk: 4\n")
    # prose: allow "elsewhere": a folder's name
    (clone.folder / "models").rename(clone.folder / "elsewhere")
    results = run_preflight(Options(image=False), clone.folder)
    assert [result.name for result in results] == NAMES
    assert results[2].verdict is Verdict.FAIL


def touch_many(clone: Checkout) -> None:
    for number in range(8):
        (clone.folder / f"file-{number}").touch()


def no_remote(clone: Checkout) -> None:
    clone.git("remote", "remove", "origin")


def gone(clone: Checkout) -> None:
    clone.git("remote", "set-url", "origin", str(clone.folder.with_name("gone.git")))


def behind(clone: Checkout) -> None:
    clone.commit()
    clone.git("reset", "-q", "--hard", "HEAD~1")


@pytest.mark.parametrize(
    ("changes", "check", "said", "remedy"),
    [
        ((touch_many,), check_tree, "8 files differ", "git commit"),
        ((touch_many,), check_tree, "and 3 more", "git commit"),
        ((commit,), check_pushed, "which has not", "git push origin HEAD:main"),
        (
            (lambda clone: clone.git("switch", "-q", "-c", "mine"),),
            check_pushed,
            "mine",
            "git push -u origin mine",
        ),
        ((no_remote,), check_pushed, "has no remote branch", "git push -u origin main"),
        ((behind,), check_pushed, "which has", ""),
        ((gone,), check_pushed, "does not answer; origin/main had", ""),
        ((gone, commit), check_pushed, "origin/main did not have", "git push origin HEAD:main"),
    ],
)
def test_the_commit_must_be_whole_and_where_render_can_fetch_it(
    changes: tuple[Callable[[Checkout], None], ...],
    check: Callable[[Repository], str],
    said: str,
    remedy: str,
    clone: Checkout,
) -> None:
    for change in changes:
        change(clone)
    if not remedy:
        assert said in check(Repository(clone.folder))
        return
    with pytest.raises(FailedError, match=said) as failed:
        check(Repository(clone.folder))
    assert remedy in failed.value.remedy


def test_a_folder_that_is_no_clone_is_told_so(tmp_path: Path) -> None:
    for check in (check_tree, check_pushed):
        with pytest.raises(FailedError, match="commit"):
            check(Repository(tmp_path))


def test_placeholders_are_refused_unless_they_are_wanted_here(clone: Checkout) -> None:
    path, models = clone.folder / "render.yaml", clone.folder / "models"
    path.write_text(f"{path.read_text()}      - key: ALLOW_FALLBACK_MODEL\n        value: true\n")
    blueprint = read_blueprint(path, clone.folder)
    with pytest.raises(FailedError, match="shapbox would start with placeholders"):
        check_fallback(blueprint, fallback_allowed=False)
    assert check_fallback(blueprint, fallback_allowed=True) == "allowed here"
    for model in models.glob("*/*/model.ubj"):
        model.unlink()
    assert "placeholders will answer" in check_models(models, fallback_allowed=True)


def test_render_is_asked_as_well_where_a_key_is_given(
    deployer: Deployer, render: FakeRender, clone: Checkout
) -> None:
    blueprint = read_blueprint(clone.folder / "render.yaml", clone.folder)
    asked = Render(deployer.host, KEY, 0.01, attempts=2)
    assert "and by Render's" in check_blueprint(blueprint, asked, "shapbox")
    render.blueprint_errors = [{"path": "services[0].plan", "error": "unknown plan", "line": 9}]
    with pytest.raises(FailedError, match=r"Render: services\[0\].plan: unknown plan"):
        check_blueprint(blueprint, asked, "shapbox")
    render.troubles = [Trouble("POST", "validate", 500, times=10)]
    assert "Render could not be asked" in check_blueprint(blueprint, asked, "shapbox")
    asked.close()
