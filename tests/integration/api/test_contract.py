"""The OpenAPI document against the code, and the page that is made of it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # its stubs are apart

import services.api
from ops.openapi import TARGET, as_json, read_document
from services.api.app import routes
from services.api.components import Components
from services.api.explain.submission import MAX_KEY
from services.api.resources.console import MEDIA_TYPES
from services.api.resources.jobs import MAX_PAGE, PAGE
from services.api.resources.models import EXAMPLES, MAX_EXAMPLES
from services.api.results.plots.kinds import KINDS, MOST_DISPLAYED
from shared.build import ROOT, VERSION
from shared.errors import MAX_ROW_ERRORS, ShapboxError
from shared.interactions import MOST_TOP_PAIRS
from shared.jobs.document import Method, Status
from shared.models.activation.records import ExplanationKind, State
from shared.models.contract import Adverse, Kind, Link, TreesReason
from shared.settings import Role
from tests.integration.api.api_client import InProcess
from tests.support.openapi_contract import contract

#: Types of problems that falcon and the server give, and no error of ours.
FOREIGN_PROBLEMS = {"bad-request", "method-not-allowed", "not-found"}
ENUMS: dict[str, Any] = {
    "Adverse": Adverse,
    "FeatureKind": Kind,
    "JobStatus": Status,
    "Link": Link,
    "Method": Method,
    "ModelState": State,
    "PlotKind": KINDS,
    "Role": Role,
    "TreesReason": TreesReason,
}
MEMBERS: dict[str, Any] = {
    "ActivationMethods": ExplanationKind,
    "BuildEngines": Method,
    "JobCounts": Status,
    "ModelEngines": Method,
}


DOCUMENT: dict[str, Any] = contract().document
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS = list(contract().operations())


def inner(part: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the document, but nothing from examples."""
    if isinstance(part, dict):
        yield part
        for name, value in part.items():
            if name not in {"example", "examples", "default"}:
                yield from inner(value)
    elif isinstance(part, list):
        for value in part:
            yield from inner(value)


def test_openapi_json_is_what_make_openapi_writes() -> None:
    document = read_document()
    assert TARGET.read_text(encoding="utf-8") == as_json(document)
    assert document["info"]["version"] == VERSION


def test_every_route_is_in_the_document_and_nothing_else(components: Components) -> None:
    described = {(method, path) for method, path, _ in OPERATIONS}
    served = {
        (name.removeprefix("on_").upper(), template)
        for template, resource in routes(components).items()
        for name in dir(resource)
        if name.startswith("on_")
    }
    assert {(method, path) for method, path in served if method != "HEAD"} == described
    assert {path for method, path in served if method == "HEAD"} == {p for m, p in described if m == "GET"}


def test_the_document_that_is_served_is_sound(client: InProcess) -> None:
    document = client.get("/openapi.json", key=None).json
    assert document["openapi"] == "3.1.0"
    references = {part["$ref"] for part in inner(document) if "$ref" in part}
    components = {
        f"#/components/{kind}/{name}"
        for kind, named in document["components"].items()
        if kind != "securitySchemes"
        for name in named
    }
    # NDJSON is text for OpenAPI, so the schema of its lines is named in prose alone.
    assert components - references == {"#/components/schemas/ResultRow"}
    assert references <= components
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert len({operation["operationId"] for _, _, operation in OPERATIONS}) == len(OPERATIONS)
    for _, path, operation in OPERATIONS:
        in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))
        assert all(one["description"] for one in operation["parameters"])


def test_schemas_are_simple_enough_for_generators() -> None:
    """No `const`, no union of arrays or objects, no object inside another schema."""
    for part in inner(DOCUMENT):
        assert not part.keys() & {"const", "oneOf", "allOf"}
        for choice in part.get("anyOf", ()):
            assert choice.keys() in ({"$ref"}, {"type"})
            kind = contract().resolve(choice)["type"]
            assert kind not in {"array", "object"} or part["anyOf"][1] == {"type": "null"}
    for name, schema in SCHEMAS.items():
        nested = [part for part in inner(schema) if "properties" in part and part is not schema]
        assert not any(isinstance(part.get("type"), str) for part in nested), name
        assert "properties" not in schema or "additionalProperties" in schema, name


def test_examples_fit_their_schemas() -> None:
    for name, schema in SCHEMAS.items():
        for example in schema.get("examples", ()):
            contract().validate({"$ref": f"#/components/schemas/{name}"}, example)
    for _, _, operation in OPERATIONS:
        for parameter in operation["parameters"]:
            if "example" in parameter:
                contract().validate(parameter["schema"], parameter["example"])
    for content in DOCUMENT["components"]["requestBodies"]["Rows"]["content"].values():
        for example in content.get("examples", {}).values():
            contract().validate(content["schema"], example["value"])


def test_enumerations_and_members_by_name_are_those_of_the_code() -> None:
    for name, values in ENUMS.items():
        assert SCHEMAS[name]["enum"] == [str(one) for one in values]
    for name, values in MEMBERS.items():
        assert list(SCHEMAS[name]["properties"]) == [one.value for one in values]


def test_limits_are_those_of_the_code() -> None:
    limits = {
        (operation["operationId"], one["name"]): contract().resolve(one["schema"])
        for _, _, operation in OPERATIONS
        for one in operation["parameters"]
    }
    for place, most, default in (
        (("listJobs", "limit"), MAX_PAGE, PAGE),
        (("getExamples", "limit"), MAX_EXAMPLES, EXAMPLES),
        (("getPlot", "max_display"), MOST_DISPLAYED, None),
        (("explain", "top_pairs"), MOST_TOP_PAIRS, None),
    ):
        found = limits[place]
        assert (found["minimum"], found["maximum"], found.get("default")) == (1, most, default)
    assert DOCUMENT["components"]["parameters"]["IdempotencyKey"]["schema"]["maxLength"] == MAX_KEY
    assert SCHEMAS["Problem"]["properties"]["errors"]["maxItems"] == MAX_ROW_ERRORS


def test_types_and_statuses_of_problems_are_those_of_the_code() -> None:
    for module in pkgutil.walk_packages(services.api.__path__, "services.api."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    errors = list(subclasses(ShapboxError))
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("services", "shared")
        for path in (ROOT / folder).rglob("*.py")
    )
    unrouted = re.findall(r'HttpError\((\d+), "([a-z-]+)"', sources)
    raised = {error.slug for error in errors} | {slug for _, slug in unrouted}
    listed = {name.removeprefix("/problems/") for name in SCHEMAS["ProblemType"]["enum"]}
    assert raised <= listed
    names = SCHEMAS["ProblemType"]["x-enum-varnames"]
    assert [f"/problems/{one.lower().replace('_', '-')}" for one in names] == SCHEMAS["ProblemType"]["enum"]
    unknown = {one for one in listed - raised - FOREIGN_PROBLEMS if not re.search(rf"[\"/]{one}\"", sources)}
    assert unknown == set()
    described = {status for _, _, operation in OPERATIONS for status in operation["responses"]}
    known = described | {"405", *(status for status, _ in unrouted)}
    assert {str(error.status) for error in errors} <= known


def subclasses(error: type[ShapboxError]) -> Iterator[type[ShapboxError]]:
    for one in error.__subclasses__():
        yield one
        yield from subclasses(one)


def test_media_types_are_those_of_the_code(client: InProcess) -> None:
    def listed_in(detail: str) -> list[str]:
        return re.findall(r"[a-z]+/[a-z+-]+", detail.partition(":")[2])

    operations = {operation["operationId"]: operation for _, _, operation in OPERATIONS}
    body = list(contract().resolve(operations["explain"]["requestBody"])["content"])
    assert listed_in(client.post("/v1/explain", b"x", "no/type").detail) == body
    for name, path in (("explain", "/v1/explain"), ("getExamples", "/v1/models/diabetes/examples")):
        method = "POST" if name == "explain" else "GET"
        reply = client.call(method, path, b"{}", {"Content-Type": "application/json", "Accept": "no/type"})
        assert listed_in(reply.detail) == list(operations[name]["responses"]["200"]["content"])
    files = {media_type.partition(";")[0] for media_type in MEDIA_TYPES.values()}
    assert set(operations["getConsoleFile"]["responses"]["200"]["content"]) == files


def test_the_page_loads_nothing_and_shows_every_operation(client: InProcess) -> None:
    reply = client.get("/docs", key=None)
    page = reply.body.decode()
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.findall(r"<script|(?:src|href)=[\"']?(?:https?:)?//|<link rel=\"stylesheet\"|url\(", page)
    for _, path, operation in OPERATIONS:
        assert f"<code>{path}</code>" in page
        assert f'id="{operation["operationId"]}"' in page
    for name in SCHEMAS:
        assert f'id="schema-{name}"' in page
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    assert page.count("<pre>curl ") >= len(OPERATIONS)
