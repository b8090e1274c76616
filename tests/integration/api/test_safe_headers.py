"""Headers that keep browsers from misusing an answer, on every kind of answer."""

from __future__ import annotations

import pytest

from services.api.http.access_log import POLICY
from tests.integration.api.api_client import Client


@pytest.mark.parametrize("path", ["/v1/models", "/v1/jobs/none", "/nowhere", "/healthz", "/openapi.json"])
def test_answers_can_be_neither_framed_nor_taken_for_another_type(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == POLICY
