"""The console's files as they are served; tests/console looks at them in a browser."""

from __future__ import annotations

import re

from services.api.components import Components
from services.api.resources.console import INDEX
from shared.build import ROOT
from tests.integration.api.api_client import InProcess

FOLDER = ROOT / "services" / "api" / "console"
NAMES = sorted(path.name for path in FOLDER.iterdir())
#: Names of other hosts, elements made of text, and places that keep a key.
FORBIDDEN = re.compile(
    r"https?://(?!www\.w3\.org/)|[\"'(]//\w|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\("
    r"|localStorage|sessionStorage|document\.cookie|indexedDB"
)


def test_every_file_is_open_to_all_and_names_no_other_host_and_nothing_else_is_served(
    client: InProcess, components: Components
) -> None:
    assert len(NAMES) > 3
    for name in NAMES:
        reply = client.get(f"/console/{name}", key=None)
        assert (reply.status, reply.body) == (200, (FOLDER / name).read_bytes())
        assert "content-security-policy" in reply.headers
        assert not FORBIDDEN.search(reply.body.decode()), name
    for name in ("nothing.js", "__init__.py", "INDEX.HTML", "%00"):
        assert client.get(f"/console/{name}", key=None).status == 404
    components.counters.flush()
    routes = {key[2] for key in components.counters.read() if key[0] == "http_requests_total"}
    assert routes == {"/console/{file}"}
    assert client.get("/console/..%2Fapp.py", key=None).status == 404


def test_the_page_may_speak_to_nobody_else_and_is_not_sent_again_to_those_who_have_it(
    client: InProcess,
) -> None:
    reply = client.get("/", key=None)
    assert (reply.status, reply.body) == (200, (FOLDER / INDEX).read_bytes())
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cache-control"] == "no-cache"
    tag = reply.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
    again = client.get("/", key=None, If_None_Match=f'"x", {tag}')
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert client.get("/", key=None, If_None_Match='"x"').status == 200


def test_every_file_goes_into_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "!services" in ignored
    assert not [line for line in ignored if line.endswith((".html", ".css", ".js", ".svg"))]
