"""Clients and verify through Debian's nginx with TLS, under a path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops.lab.trial_appliance import Appliance
from ops.verify.checks import access, work
from ops.verify.checks.links import links
from ops.verify.report import FailedError
from ops.verify.visit import VerifyOptions, Visit
from shapbox import Shapbox, flows
from shapbox.errors import CertificateError, LinkError
from shared.settings import KEY_NAMES
from tests.support.remote.certificates import Certificates, make_certificates
from tests.support.remote.nginx import find_nginx, nginx_before

ROW = [47, 2, 22.5, 82, 131, 66.8, 41, 3, 4.7536, 89]
#: The page says that nginx leaves the path without this slash.
LEFT = ("proxy_pass http://127.0.0.1:10000/;", "proxy_pass http://127.0.0.1:10000;")
UNTOLD = ("proxy_set_header X-Forwarded-Prefix /shap;", "")
#: Bytes of an upload that do not fit into the buffers on their way.
LARGE = 8 * 2**20


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    """Make certificates that clients of this process trust."""
    find_nginx()
    made = make_certificates(tmp_path / "certificates")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    return made


def verify_links(appliance: Appliance, url: str) -> str:
    """Verify as much as the check of links needs."""
    visit = Visit(VerifyOptions(url, {name: appliance.key(name) for name in KEY_NAMES}))
    access.reachable(visit)
    work.models(visit)
    visit.sound = [one for one in visit.served if one.name == "diabetes"]
    try:
        return links(visit)
    finally:
        assert visit.jobs.clear() == []
        visit.end()


@pytest.mark.parametrize("changes", [(), (LEFT,)], ids=["stripped", "left"])
def test_clients_and_verify_follow_links_through_nginx(
    appliance: Appliance,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: tuple[tuple[str, str], ...],
) -> None:
    monkeypatch.setattr(flows, "_PAGE", 1)
    with nginx_before(appliance.url, tmp_path / "nginx", certificates, *changes) as url:
        with Shapbox(url, appliance.api_key) as box:
            explained = box.explain([ROW], "diabetes")
            jobs = [box.submit([ROW], "diabetes").wait() for _ in range(3)]
            assert (jobs[0].result().values == explained.values).all()
            assert [job.id for job in box.jobs()][:3] == [job.id for job in jobs[::-1]]
        assert re.fullmatch(r"\d\d links lead below the address", verify_links(appliance, url))
        # The appliance answers, and the connection ends in order, long before all of the body is there.
        refused = Shapbox(url, "").call("POST", "/v1/jobs", b"x" * LARGE)
        assert (refused.status, refused.json()["type"]) == (401, "/problems/unauthorized")
        monkeypatch.delenv("SSL_CERT_FILE")
        with Shapbox(url) as stranger, pytest.raises(CertificateError, match="Set SSL_CERT_FILE to"):
            stranger.models()  # at once, and not after a minute of repetitions


def test_verify_and_clients_say_where_a_wrong_link_leads(
    appliance: Appliance, certificates: Certificates, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "_PAGE", 1)
    with nginx_before(appliance.url, tmp_path / "nginx", certificates, UNTOLD) as url:
        said = rf"Location is '/v1/jobs/\w+', which leads to \S+, and not below {url}\."
        with pytest.raises(FailedError, match=said) as failed:
            verify_links(appliance, url)
        assert "URL_PREFIX" in failed.value.remedy
        with Shapbox(url, appliance.api_key) as box:
            for _ in range(2):
                box.submit([ROW], "diabetes").wait()
            with pytest.raises(LinkError, match=rf"link /v1/jobs\S+ leads to \S+, and not below {url}\."):
                list(box.jobs())
