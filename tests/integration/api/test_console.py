"""The console's files as they are served; tests/console looks at them in a browser."""

from __future__ import annotations

import re

import pytest

from services.api.components import Components
from services.api.resources.console import INDEX
from shared.build import ROOT
from tests.integration.api.api_client import InProcess

FOLDER = ROOT / "services" / "api" / "console"
#: Names that a file may use besides itself.
FOREIGN = re.compile(r"https?://(?!www\.w3\.org/)|[\"'(]//\w")


NAMES = sorted(path.name for path in FOLDER.iterdir())


def test_the_page_is_open_to_all_and_may_speak_to_nobody_else(client: InProcess) -> None:
    reply = client.get("/", key=None)
    assert (reply.status, reply.body) == (200, (FOLDER / INDEX).read_bytes())
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in reply.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_served_and_names_no_other_host(client: InProcess, name: str) -> None:
    reply = client.get(f"/console/{name}", key=None)
    assert (reply.status, reply.body) == (200, (FOLDER / name).read_bytes())
    assert "content-security-policy" in reply.headers
    assert not FOREIGN.search(reply.body.decode())


@pytest.mark.parametrize("name", NAMES)
def test_no_file_makes_elements_of_text_or_keeps_the_key(name: str) -> None:
    text = (FOLDER / name).read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in text
    for word in ("localStorage", "sessionStorage", "document.cookie", "indexedDB"):
        assert word not in text


def test_a_file_that_the_client_has_is_not_sent_again(client: InProcess) -> None:
    first = client.get("/", key=None)
    assert first.headers["cache-control"] == "no-cache"
    tag = first.headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
    again = client.get("/", key=None, If_None_Match=f'"x", {tag}')
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert client.get("/", key=None, If_None_Match='"x"').status == 200


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "__init__.py", "INDEX.HTML", "%00"])
def test_nothing_else_is_served(client: InProcess, name: str) -> None:
    assert client.get(f"/console/{name}", key=None).status == 404


def test_all_files_count_as_one_route(client: InProcess, components: Components) -> None:
    for name in (*NAMES, "nothing"):
        client.get(f"/console/{name}", key=None)
    components.counters.flush()
    routes = {key[2] for key in components.counters.read() if key[0] == "http_requests_total"}
    assert routes == {"/console/{file}"}


def test_every_file_goes_into_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "!services" in ignored
    assert not [line for line in ignored if line.endswith((".html", ".css", ".js", ".svg"))]
