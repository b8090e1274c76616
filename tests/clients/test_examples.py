"""The examples and defaults of the OpenAPI document, sent to a real appliance."""

from __future__ import annotations

import argparse
import html
import json
import re
import shlex
from string import Template
from typing import Any
from urllib.parse import urlencode

from ops.lab.trial_appliance import Appliance
from shapbox import Response, Shapbox
from tests.support.openapi_contract import contract

ROW = [47, 2, 22.5, 82, 131, 66.8, 41, 3, 4.7536, 89]


def new_job(appliance: Appliance) -> str:
    body = json.dumps({"model": "diabetes", "rows": [ROW]}).encode()
    answer = appliance.call("POST", "/v1/jobs?wait=30", body, headers={"Content-Type": "application/json"})
    assert answer.status == 200
    return str(answer.json()["id"])


def run_curl(command: str, values: dict[str, str]) -> tuple[str, str, Response]:
    """Do what `curl` would; return method, path and response."""
    options = argparse.ArgumentParser()
    options.add_argument("-X", default="GET")
    options.add_argument("-H", action="append", default=[])
    options.add_argument("--data-binary", type=str.encode)
    options.add_argument("-o")
    options.add_argument("url")
    words = shlex.split(Template(command).safe_substitute(values).replace("\\\n", ""))
    given = options.parse_args(words[1:])
    path = given.url.removeprefix(values["URL"])
    headers = dict(header.split(": ", 1) for header in given.H)
    return given.X, path, Shapbox(values["URL"], "").call(given.X, path, given.data_binary, headers)


def test_every_command_on_the_page_succeeds(appliance: Appliance) -> None:
    page = appliance.get("/docs").body.decode()
    articles = re.findall(r'<article class="card" id="([^"]+)">(.*?)</article>', page, re.DOTALL)
    commands = [
        (name, html.unescape(command))
        for name, article in articles
        for command in re.findall(r"<pre>(curl .*?)</pre>", article, re.DOTALL)
    ]
    assert {name for name, _ in commands} == {one["operationId"] for _, _, one in contract().operations()}
    keys = {name: appliance.key(name) for name in ("API_KEY", "ADMIN_API_KEY", "METRICS_TOKEN")}
    for _, command in commands:
        method, path, answer = run_curl(command, {**keys, "URL": appliance.url, "JOB_ID": new_job(appliance)})
        assert answer.status in {200, 202, 204}, (command, answer.body)
        contract().check(method, path, answer.status, answer.headers, answer.body)


def test_every_default_is_accepted(appliance: Appliance) -> None:
    """Generated clients send them without being asked to."""
    sent = 0
    for method, path, operation in contract().operations():
        schemas = {one["name"]: contract().resolve(one["schema"]) for one in operation["parameters"]}
        defaults = {name: schema["default"] for name, schema in schemas.items() if "default" in schema}
        if not defaults:
            continue
        sent += 1
        place = path.replace("{job_id}", new_job(appliance)).replace("{name}", "diabetes")
        query = urlencode({name: json.dumps(value) for name, value in defaults.items()})
        body: dict[str, Any] = {"model": "diabetes", "rows": [ROW], "interactions": True}
        headers = {"Content-Type": "application/json"}
        answer = appliance.call(method, f"{place}?{query}", json.dumps(body).encode(), headers=headers)
        assert answer.status == 200, (place, query, answer.body)
    assert sent == 4


def test_every_kind_of_plot_takes_what_the_document_says(appliance: Appliance) -> None:
    names = {"output": "disease_progression", "feature": "bmi", "row": "0", "max_display": "5"}
    job, taken = new_job(appliance), {}
    for kind in contract().document["components"]["schemas"]["PlotKind"]["enum"]:
        path = f"/v1/jobs/{job}/plots/{kind}"
        taken[kind] = {
            name for name, value in names.items() if appliance.get(f"{path}?{name}={value}").status == 200
        }
    with_lines = {"output", "max_display"}
    waterfall, dependence = with_lines | {"row"}, {"output", "feature"}
    assert taken == {
        "bar": with_lines,
        "beeswarm": with_lines,
        "waterfall": waterfall,
        "dependence": dependence,
    }
