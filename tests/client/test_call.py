"""The bare call, and what the package is made of."""

from __future__ import annotations

import ast
import gc
import gzip
import sys
import tomllib

import pytest

import shapbox
from ops.lab.trial_appliance import Appliance, free_ports
from shapbox import NoAnswerError, Shapbox
from shared.build import ROOT, VERSION
from tests.client.conftest import Script, reply


def test_a_call_gives_status_headers_and_body_without_an_exception(appliance: Appliance) -> None:
    box = Shapbox(f"{appliance.url}/", appliance.api_key)
    answer = box.call("GET", "/v1/models")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert {model["name"] for model in answer.json()["models"]} >= {"credit", "diabetes", "wine"}
    assert box.call("GET", "/v1/jobs/nothing").status == 404
    assert box.call("GET", "/v1/workers").status == 403
    assert box.call("GET", "/v1/models", headers={"authorization": "Bearer wrong"}).status == 401
    assert Shapbox(appliance.url, "").call("GET", "/v1/models").status == 401
    rows = [b'{"model": "diabetes", "rows": [', b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]}"]
    for body in (b"".join(rows), iter(rows)):
        given = box.call("POST", "/v1/explain", body, {"Content-Type": "application/json"})
        assert given.status == 200, given
    assert box.call("POST", "/v1/explain").status == 415


def test_a_body_comes_as_it_was_sent(appliance: Appliance) -> None:
    answer = Shapbox(appliance.url, "").call("GET", "/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert b"operationId" in (
        gzip.decompress(answer.body) if "content-encoding" in answer.headers else answer.body
    )


def test_a_box_takes_address_and_key_from_the_environment(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHAPBOX_URL", appliance.url)
    monkeypatch.setenv("SHAPBOX_API_KEY", f"{appliance.api_key}\n")
    assert Shapbox().call("GET", "/v1/models").status == 200
    with pytest.raises(ValueError, match="begins with http"):
        Shapbox("localhost:10000")


def test_a_call_is_made_once_and_a_missing_answer_is_a_connection_error(script: Script) -> None:
    broken = reply(200, b"half", Content_Length="8")
    script.responses += [b"", broken, reply(503)]
    box = Shapbox(script.url, "key")
    for _ in range(2):
        with pytest.raises(NoAnswerError, match="/healthz was not answered") as caught:
            box.call("GET", "/healthz")
        assert isinstance(caught.value, ConnectionError)
    assert box.call("POST", "/healthz").status == 503
    assert len(script.requests) == 3
    assert b"content-length: 0\r\n" in script.requests[-1].lower()
    with pytest.raises(NoAnswerError):
        Shapbox(f"http://127.0.0.1:{free_ports(1)[0]}", "").call("GET", "/")


def test_a_forgotten_box_leaves_no_open_connection(appliance: Appliance) -> None:
    Shapbox(appliance.url, appliance.api_key).models()  # a ResourceWarning would fail this test
    gc.collect()


def test_the_version_is_that_of_the_appliance() -> None:
    project = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())["project"]
    assert project["version"] == shapbox.__version__ == VERSION


def test_the_package_needs_python_3_10_httpx_and_numpy_only() -> None:
    allowed = {"shapbox", "httpx", "numpy"}
    optional = {"pandas", "polars", "shap"}
    for path in (ROOT / "client" / "shapbox").glob("*.py"):
        tree = ast.parse(path.read_text(), feature_version=(3, 10))
        for node in ast.walk(tree):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            names = (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            )
            outer = {name.partition(".")[0] for name in names} - allowed - sys.stdlib_module_names
            assert outer <= optional, (path, outer)
            assert not outer or node.col_offset > 0, f"{path} imports {outer}, which is optional, at its top"
