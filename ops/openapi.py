"""`make openapi`: writes services/api/openapi.json from the reviewed openapi.yaml."""

from __future__ import annotations

import json
import sys
from typing import Any

import yaml

from shared.build import ROOT

SOURCE, TARGET = (ROOT / "services" / "api" / name for name in ("openapi.yaml", "openapi.json"))


def read_document() -> dict[str, Any]:
    """Return the reviewed document."""
    document: dict[str, Any] = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))
    return document


def as_json(document: dict[str, Any]) -> str:
    """Return the document as openapi.json holds it."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file."""
    TARGET.write_text(as_json(read_document()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
