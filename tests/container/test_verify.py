"""`make verify` against the container, which passes and keeps nothing."""

from __future__ import annotations

from ops.container.box import Box
from ops.verify.report import Verdict, as_text
from ops.verify.run import run_verify
from ops.verify.visit import VerifyOptions
from shared.build import ROOT
from shared.settings import KEY_NAMES
from tests.container.conftest import Say


def test_a_container_passes_and_no_job_is_left(box: Box, say: Say) -> None:
    keys = {name: box.key(name) for name in KEY_NAMES}
    report = run_verify(VerifyOptions(box.url, keys, models_dir=ROOT / "models"))
    assert report.passed, as_text(report)
    measured = {check.name: check.measured for check in report.checks}
    assert {check.name for check in report.checks if check.verdict is Verdict.SKIP} == {"commit", "TLS"}
    assert "XGBoost's own" in measured["job"]
    assert "of 475 MB" in measured["memory"]
    assert box.get("/v1/jobs").json()["jobs"] == []
    say(f"verify of the container: {report.seconds:.1f} s, {measured['memory']}, {measured['recycle']}")
