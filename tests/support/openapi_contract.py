"""Checks every response of a test against the OpenAPI document."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are apart

from services.api.resources.documentation import load_document

type Part = dict[str, Any]

#: Headers that a response may only have if its description names them.
DESCRIBED_HEADERS = frozenset(
    {
        *("accept-ranges", "content-disposition", "content-encoding", "content-location", "content-range"),
        *("etag", "location"),
        *("preference-applied", "retry-after", "vary", "www-authenticate", "x-request-id"),
    }
)


@functools.cache
def contract() -> Contract:
    """Return the one of this process, which remembers what it has prepared."""
    return Contract()


class Contract:
    """The OpenAPI document, and what it says of a response."""

    def __init__(self) -> None:
        self.document = load_document()
        self.paths = {
            re.compile(re.sub(r"\{\w+\}", "[^/]+", path)): item
            for path, item in self.document["paths"].items()
        }
        self._validators: dict[str, Draft202012Validator] = {}
        self._valid: set[int] = set()

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Assert that the document describes this response."""
        headers = {name.lower(): value for name, value in headers.items()}
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", headers["x-request-id"])
        media_type = headers.get("content-type", "").partition(";")[0]
        if status >= 400 and media_type == "application/problem+json" and method != "HEAD":
            self.check_problem(status, headers["x-request-id"], json.loads(body))
        response = self._response(method, path.partition("?")[0], status)
        if response is None:
            assert media_type == "application/problem+json"
            assert status in {400, 404, 405}
            return
        self._check_headers(response, headers)
        if "content" not in response:
            assert body == b""
            return
        content = response["content"].get(media_type) or response["content"]["*/*"]
        if method != "HEAD" and status != 206 and "content-encoding" not in headers:
            self._check_body(media_type, content["schema"], body)

    def check_problem(self, status: int, request_id: str, problem: Part) -> None:
        """Assert that a problem document is one of this request."""
        self.validate({"$ref": "#/components/schemas/Problem"}, problem)
        assert (problem["status"], problem["request_id"]) == (status, request_id)
        assert "Traceback" not in json.dumps(problem)

    def validate(self, schema: Part, value: Any) -> None:
        """Assert that a value fits a schema, which may refer to the document's components."""
        name = json.dumps(schema)
        if name not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[name] = Draft202012Validator(whole)
        self._validators[name].validate(value)

    def resolve(self, part: Part) -> Part:
        """Follow a reference to one of the components."""
        if "$ref" in part:
            kind, name = part["$ref"].split("/")[-2:]
            part = self.document["components"][kind][name]
        return part

    def operations(self) -> Iterator[tuple[str, str, Part]]:
        """Yield method, path and operation; `parameters` include those of the path."""
        for path, item in self.document["paths"].items():
            for method, operation in item.items():
                if method != "parameters":
                    parts = [*item["parameters"], *operation.get("parameters", ())]
                    resolved = [self.resolve(one) for one in parts]
                    yield method.upper(), path, {**operation, "parameters": resolved}

    def _check_headers(self, response: Part, headers: Mapping[str, str]) -> None:
        described = {name.lower(): self.resolve(part)["schema"] for name, part in response["headers"].items()}
        found = {name: value for name, value in headers.items() if name in DESCRIBED_HEADERS}
        assert found.keys() <= described.keys()
        for name, value in found.items():
            is_number = self.resolve(described[name]).get("type") == "integer"
            self.validate(described[name], int(value) if is_number else value)

    def _check_body(self, media_type: str, schema: Part, body: bytes) -> None:
        known = hash((json.dumps(schema), body))  # a large one takes a second, and tests ask for it again
        if known in self._valid:
            return
        if media_type in {"application/json", "application/problem+json"}:
            self.validate(schema, json.loads(body))
        elif media_type == "application/x-ndjson":
            for line in body.splitlines()[:100]:
                self.validate({"$ref": "#/components/schemas/ResultRow"}, json.loads(line))
        self._valid.add(known)

    def _response(self, method: str, path: str, status: int) -> Part | None:
        item: Part = next((known for pattern, known in self.paths.items() if pattern.fullmatch(path)), {})
        operation = item.get("get" if method == "HEAD" else method.lower())
        if operation is None:
            return None
        assert str(status) in operation["responses"], f"{method} {path} is not documented to answer {status}"
        return self.resolve(operation["responses"][str(status)])
