"""The OpenAPI document as a page to read: made here, self-contained, without a script."""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from typing import Any

type Part = dict[str, Any]

_CURL = {
    "submitJob": 'curl -H "Authorization: Bearer $API_KEY" -H "Content-Type: text/csv" \\\n'
    '  --data-binary @rows.csv "$URL/v1/jobs?model=diabetes"',
    "explain": 'curl -H "Authorization: Bearer $API_KEY" -H "Content-Type: application/json" \\\n'
    '  -d \'{"model": "diabetes", "rows": [[0.03, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, 0, 0.02, -0.02]]}\' \\\n'
    '  "$URL/v1/explain"',
    "listJobs": 'curl -H "Authorization: Bearer $API_KEY" "$URL/v1/jobs?status=running&limit=5"',
    "getJob": 'curl -H "Authorization: Bearer $API_KEY" "$URL/v1/jobs/$JOB?wait=60"',
    "deleteJob": 'curl -X DELETE -H "Authorization: Bearer $API_KEY" "$URL/v1/jobs/$JOB"',
    "getResult": 'curl -H "Authorization: Bearer $API_KEY" -H "Accept: text/csv" \\\n'
    '  --compressed -o values.csv "$URL/v1/jobs/$JOB/result"',
    "listModels": 'curl -H "Authorization: Bearer $API_KEY" "$URL/v1/models"',
    "getModel": 'curl -H "Authorization: Bearer $API_KEY" "$URL/v1/models/diabetes"',
    "getExamples": 'curl -H "Authorization: Bearer $API_KEY" "$URL/v1/models/diabetes/examples?limit=5"',
    "getAppliance": 'curl -H "Authorization: Bearer $API_KEY" "$URL/v1/appliance"',
    "listWorkers": 'curl -H "Authorization: Bearer $ADMIN_API_KEY" "$URL/v1/workers"',
    "recycleWorker": 'curl -X POST -H "Authorization: Bearer $ADMIN_API_KEY" "$URL/v1/workers/recycle"',
    "getHealth": 'curl "$URL/healthz"',
    "getReadiness": 'curl "$URL/readyz"',
    "getMetrics": 'curl -H "Authorization: Bearer $METRICS_TOKEN" "$URL/metrics"',
    "getVersion": 'curl "$URL/version"',
    "getOpenApi": 'curl "$URL/openapi.json"',
}


def render_docs(document: Part) -> str:
    """Return the whole page."""
    info = document["info"]
    sections = "".join(_section(document, tag) for tag in document["tags"])
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(info['title'])} API</title><style>{_style()}</style></head><body>"
        f"<header><h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info['description'])}</p><p>Send <code>Authorization: Bearer KEY</code>. As a document for "
        'programs: <a href="/openapi.json">/openapi.json</a></p></header>'
        f"<nav>{_contents(document)}</nav><main>{sections}{_schemas(document)}</main></body></html>\n"
    )


def _style() -> str:
    return resources.files("services.api").joinpath("docs_page.css").read_text(encoding="utf-8")


def _operations(document: Part) -> list[tuple[str, str, Part]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def _contents(document: Part) -> str:
    lines = [
        f'<li><a href="#{operation["operationId"]}"><b>{method}</b> {escape(path)}</a></li>'
        for method, path, operation in _operations(document)
    ]
    return f'<ul>{"".join(lines)}<li><a href="#schemas">Schemas</a></li></ul>'


def _section(document: Part, tag: Part) -> str:
    parts = [
        _article(document, method, path, operation)
        for method, path, operation in _operations(document)
        if tag["name"] in operation["tags"]
    ]
    return f"<section><h2>{escape(tag['description'])}</h2>{''.join(parts)}</section>"


def _article(document: Part, method: str, path: str, operation: Part) -> str:
    name = operation["operationId"]
    parts = [
        (
            f'<article id="{name}"><h3><span class="method {method.lower()}">{method}</span> '
            f"<code>{escape(path)}</code></h3><p>{escape(operation['summary'])}.</p>"
        )
    ]
    if "description" in operation:
        parts.append(f"<p>{escape(operation['description'])}</p>")
    parts.append(f"<p class=key>{_key(document, operation)}</p>")
    if name in _CURL:
        parts.append(f"<pre>{escape(_CURL[name])}</pre>")
    parts.append(_parameters(document, operation))
    if "requestBody" in operation:
        parts.append(f"<h4>Body</h4><p>{_content(operation['requestBody'])}</p>")
    parts.append(_responses(document, operation))
    return "".join(parts) + "</article>"


def _key(document: Part, operation: Part) -> str:
    security = operation.get("security", document["security"])
    if not security:
        return "Open to all."
    schemes = document["components"]["securitySchemes"]
    return "Key: " + " ".join(escape(schemes[name]["description"]) for choice in security for name in choice)


def _parameters(document: Part, operation: Part) -> str:
    rows = []
    for reference in operation["parameters"]:
        parameter = _resolve(document, reference)
        allowed = ", ".join(str(value) for value in parameter["schema"].get("enum", ()))
        text = parameter["description"] + (f" One of: {allowed}." if allowed else "")
        rows.append(
            f'<tr><td><code>{escape(parameter["name"])}</code></td><td class="in">{parameter["in"]}</td>'
            f"<td>{escape(text)}</td></tr>"
        )
    return f"<h4>Parameters</h4><table>{''.join(rows)}</table>"


def _responses(document: Part, operation: Part) -> str:
    rows = []
    for status, reference in operation["responses"].items():
        response = _resolve(document, reference)
        kind = "good" if status.startswith("2") else "bad"
        rows.append(
            f'<tr><td class="{kind}">{status}</td><td>{escape(response["description"])}</td>'
            f"<td>{_content(response)}</td></tr>"
        )
    return f"<h4>Answers</h4><table>{''.join(rows)}</table>"


def _content(part: Part) -> str:
    found = []
    for media_type, content in part.get("content", {}).items():
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        link = f' (<a href="#schema-{name}">{name}</a>)' if name else ""
        found.append(f"<code>{escape(media_type)}</code>{link}")
    return ", ".join(found)


def _schemas(document: Part) -> str:
    parts = ['<section id="schemas"><h2>Schemas</h2>']
    for name, schema in document["components"]["schemas"].items():
        example = schema.get("examples", [None])[0]
        parts.append(f'<article id="schema-{name}"><h3>{name}</h3>')
        if "description" in schema:
            parts.append(f"<p>{escape(schema['description'])}</p>")
        if example is not None:
            parts.append(f"<pre>{escape(json.dumps(example, indent=2))}</pre>")
        text = json.dumps({key: value for key, value in schema.items() if key != "examples"}, indent=2)
        parts.append(f"<details><summary>JSON Schema</summary><pre>{escape(text)}</pre></details></article>")
    return "".join(parts) + "</section>"


def _resolve(document: Part, part: Part) -> Part:
    """Follow a reference inside the document."""
    found: Part = part
    if "$ref" in part:
        found = document
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
    return found
