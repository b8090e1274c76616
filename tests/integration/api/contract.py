"""Holds every answer of a test against the OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # its stubs are apart

from services.api.openapi.document import openapi_document

#: Headers that an answer may only have if its description names them.
DESCRIBED_HEADERS = frozenset(
    {
        "content-disposition",
        "content-location",
        "location",
        "preference-applied",
        "retry-after",
        "vary",
        "www-authenticate",
    }
)


class Contract:
    def __init__(self) -> None:
        self.document = openapi_document()
        self.paths = {
            re.compile(re.sub(r"\{\w+\}", "[^/]+", path)): methods
            for path, methods in self.document["paths"].items()
        }

    def check(self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Assert that the document knows this answer."""
        headers = {name.lower(): value for name, value in headers.items()}
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", headers["x-request-id"])
        media_type = headers.get("content-type", "").partition(";")[0]
        if status >= 400 and media_type == "application/problem+json" and method != "HEAD":
            self._check_problem(status, headers["x-request-id"], json.loads(body))
        response = self._response(method, path.partition("?")[0], status)
        if response is None:
            assert (status, media_type) in {
                (400, "application/problem+json"),
                (404, "application/problem+json"),
                (405, "application/problem+json"),
            }
            return
        described = {name.lower() for name in response["headers"]}
        assert not {name for name in headers if name in DESCRIBED_HEADERS} - described
        if "content" not in response:
            assert body == b""
            return
        content = response["content"][media_type]
        if (
            media_type in {"application/json", "application/problem+json"}
            and method != "HEAD"
            and "content-encoding" not in headers
        ):
            self.validate(content["schema"], json.loads(body))

    def validate(self, schema: dict[str, Any], value: Any) -> None:
        Draft202012Validator({**schema, "components": self.document["components"]}).validate(value)

    def _check_problem(self, status: int, request_id: str, problem: dict[str, Any]) -> None:
        self.validate({"$ref": "#/components/schemas/Problem"}, problem)
        assert problem["status"] == status
        assert problem["request_id"] == request_id
        assert "Traceback" not in json.dumps(problem)

    def _response(self, method: str, path: str, status: int) -> dict[str, Any] | None:
        methods: dict[str, Any] = next(
            (known for pattern, known in self.paths.items() if pattern.fullmatch(path)), {}
        )
        operation = methods.get("get" if method == "HEAD" else method.lower())
        if operation is None:
            return None
        assert str(status) in operation["responses"], f"{method} {path} is not said to answer {status}"
        response: dict[str, Any] = operation["responses"][str(status)]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rpartition("/")[2]]
        return response
