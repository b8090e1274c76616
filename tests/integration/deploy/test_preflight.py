"""`python -m ops.render.preflight` on real repositories: all faults at once, with remedies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.render.patience import Patience
from ops.render.preflight.checks import Preflight
from ops.render.preflight.finding import Finding, Outcome, all_well, table
from ops.render.preflight.options import PreflightOptions
from ops.render.preflight.repository import Repository, check_pushed, check_tree
from ops.render.preflight.run import run_preflight
from tests.integration.deploy.conftest import Checkout, Deployer
from tests.integration.deploy.fake_render import KEY, FakeRender, Trouble

WITHOUT_IMAGE = PreflightOptions(image=False)


@pytest.fixture
def clone(checkout: Checkout, tmp_path: Path) -> Checkout:
    """Make a clone and a remote for a test to spoil."""
    made, remote = Checkout(tmp_path / "clone"), tmp_path / "remote.git"
    checkout.git("clone", "-q", "--bare", str(checkout.folder), str(remote))
    checkout.git("clone", "-q", str(remote), str(made.folder))
    return made


def found(findings: Iterator[Finding] | list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


def preflight(clone: Checkout, options: PreflightOptions = WITHOUT_IMAGE) -> list[Finding]:
    return list(Preflight(options, root=clone.folder).findings())


def test_a_clean_clone_passes(clone: Checkout) -> None:
    findings = preflight(clone)
    assert all_well(findings), table(findings)
    assert [finding.check for finding in findings] == [
        *("tree", "pushed", "models", "no placeholders", "blueprint", "blueprint", "image")
    ]
    assert found(findings, "image").outcome is Outcome.SKIP


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
    assert done.stdout.count("→") >= len(failed)


def test_changed_files_are_named_but_not_all_of_them(clone: Checkout) -> None:
    for number in range(8):
        (clone.folder / f"file-{number}").touch()
    finding = check_tree(Repository(clone.folder))
    assert finding.outcome is Outcome.FAIL
    assert "8 files differ" in finding.seen
    assert "and 3 more" in finding.seen


def test_a_folder_that_is_no_clone_is_told_so(tmp_path: Path) -> None:
    assert check_tree(Repository(tmp_path)).outcome is Outcome.FAIL
    assert check_pushed(Repository(tmp_path)).outcome is Outcome.FAIL


def test_a_commit_that_is_not_pushed_is_told_with_the_command(clone: Checkout) -> None:
    clone.git("commit", "-q", "--allow-empty", "-m", "not pushed")
    finding = check_pushed(Repository(clone.folder))
    assert (finding.outcome, finding.remedy) == (Outcome.FAIL, "git push origin HEAD:main")


def test_a_branch_without_a_remote_one_is_told_with_the_command(clone: Checkout) -> None:
    clone.git("switch", "-q", "-c", "mine")
    finding = check_pushed(Repository(clone.folder))
    assert (finding.outcome, finding.remedy) == (Outcome.FAIL, "git push -u origin mine")
    clone.git("remote", "remove", "origin")
    assert check_pushed(Repository(clone.folder)).outcome is Outcome.FAIL


def test_a_commit_that_the_remote_has_below_newer_ones_is_pushed(clone: Checkout) -> None:
    clone.commit()
    clone.git("reset", "-q", "--hard", "HEAD~1")
    finding = check_pushed(Repository(clone.folder))
    assert finding.outcome is Outcome.PASS
    assert "and newer commits" in finding.seen


def test_a_remote_that_does_not_answer_is_judged_by_what_it_had_and_that_is_said(clone: Checkout) -> None:
    clone.git("remote", "set-url", "origin", str(clone.folder.with_name("gone.git")))
    finding = check_pushed(Repository(clone.folder))
    assert finding.outcome is Outcome.PASS
    assert "does not answer" in finding.seen
    clone.git("commit", "-q", "--allow-empty", "-m", "not pushed")
    assert check_pushed(Repository(clone.folder)).outcome is Outcome.FAIL


def test_placeholders_are_refused_unless_they_are_wanted_here(clone: Checkout) -> None:
    blueprint = clone.folder / "render.yaml"
    more = "      - key: ALLOW_FALLBACK_MODEL\n        value: true\n"
    blueprint.write_text(blueprint.read_text() + more)
    finding = found(preflight(clone), "no placeholders")
    assert finding.outcome is Outcome.FAIL
    shutil.rmtree(clone.folder / "models" / "wine")
    next((clone.folder / "models").glob("diabetes/*/model.ubj")).unlink()
    wanted = preflight(clone, PreflightOptions(image=False, fallback_allowed=True))
    assert found(wanted, "no placeholders").outcome is Outcome.PASS
    assert "placeholders will answer" in found(wanted, "models").seen


def test_a_check_that_breaks_keeps_no_other_from_being_made(clone: Checkout) -> None:
    (clone.folder / "render.yaml").write_text("services:\n  - type: web\n    envVars: 3\n    disk: 4\n")
    shutil.rmtree(clone.folder / "models")
    findings = preflight(clone)
    assert len(findings) == 7
    assert found(findings, "models").outcome is Outcome.FAIL


@pytest.fixture
def asking(deployer: Deployer) -> PreflightOptions:
    return PreflightOptions(
        image=False, api_key=KEY, host=deployer.host, service="shapbox", patience=Patience(poll=0.01)
    )


def test_render_is_asked_as_well_where_a_key_is_given(asking: PreflightOptions, render: FakeRender) -> None:
    render.blueprint_errors = [{"path": "services[0].plan", "error": "unknown plan", "line": 9}]
    finding = found(run_preflight(asking), "blueprint")
    assert finding.outcome is Outcome.FAIL
    assert "Render: services[0].plan: unknown plan" in finding.seen
    render.blueprint_errors = []
    assert "and by Render's" in found(run_preflight(asking), "blueprint").seen


def test_a_render_that_does_not_answer_leaves_our_own_rules(
    asking: PreflightOptions, render: FakeRender
) -> None:
    render.troubles = [Trouble("POST", "validate", 500, times=10)]
    finding = found(run_preflight(asking), "blueprint")
    assert finding.outcome is Outcome.PASS
    assert "Render could not be asked" in finding.seen
