"""Writes the OpenAPI document as one HTML page, which is self-contained and has no script."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from importlib import resources
from typing import Any

type Part = dict[str, Any]


def render_docs(document: Part) -> str:
    """Return the whole page."""
    document = _resolve(document, document)
    info = document["info"]
    title = f"{escape(info['title'])} API"
    files = resources.files("services.api")
    style = "".join(
        files.joinpath(name).read_text(encoding="utf-8") for name in ("console/base.css", "docs_page.css")
    )
    links = "".join(
        f'<li><a href="#{operation["operationId"]}"><b>{method}</b> {escape(path)}</a></li>'
        for method, path, operation in _operations(document)
    )
    sections = "".join(_section(document, tag) for tag in document["tags"])
    schemas = "".join(_schema(name, schema) for name, schema in document["components"]["schemas"].items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{style}</style></head><body>"
        f"<header><h1>{title} <small>{escape(info['version'])}</small></h1>{_prose(info['description'])}"
        '<p>Programs read <a href="openapi.json">/openapi.json</a>.</p></header>'
        f'<nav><ul>{links}<li><a href="#schemas">Schemas</a></li></ul></nav><main>{sections}'
        f'<section id="schemas"><h2>Schemas</h2>{schemas}</section></main></body></html>\n'
    )


def curl_commands(method: str, path: str, operation: Part) -> Iterator[str]:
    """Yield commands that call an operation, one for each example or media type."""
    start = "curl" if method == "GET" else f"curl -X {method}"
    if operation["security"]:
        start += f' -H "Authorization: Bearer ${next(iter(operation["security"][0]))}"'
    url = "$URL" + re.sub(r"\{(\w+)\}", lambda match: "$" + match[1].upper(), path)
    query = {}
    for parameter in operation["parameters"]:
        if parameter["in"] == "path" and "example" in parameter:
            url = url.replace("$" + parameter["name"].upper(), parameter["example"])
        elif parameter["in"] == "query" and "example" in parameter:
            query[parameter["name"]] = parameter["example"]
    body = operation["requestBody"]
    for media_type, content in body.get("content", {}).items():
        singles = [{"value": content["example"]}] if "example" in content else []
        for example in content.get("examples", {}).values() or singles:
            value = example["value"]
            data = value.strip() if isinstance(value, str) else json.dumps(value)
            named = {} if isinstance(value, str) else value  # a JSON body says these itself
            sent = f"{start} -H \"Content-Type: {media_type}\" \\\n  --data-binary '{data}' \\\n  "
            yield sent + _quoted(url, {name: query[name] for name in query if name not in named})
    if not body:
        yield f"{start} {_quoted(url, query)}"
        negotiated = operation["responses"]["200"]["content"] if "406" in operation["responses"] else ()
        for media_type in list(negotiated)[1:]:
            ending = media_type.rpartition("/")[2].removeprefix("x-")
            yield f'{start} -H "Accept: {media_type}" \\\n  -o out.{ending} {_quoted(url, query)}'


def _quoted(url: str, query: Part) -> str:
    return f'"{url}{"?" if query else ""}{"&".join(f"{name}={value}" for name, value in query.items())}"'


def _operations(document: Part) -> Iterator[tuple[str, str, Part]]:
    """Yield each operation with its method and path, including what it inherits."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                *first, request_id = item["parameters"]
                parameters = [*first, *operation.get("parameters", ()), request_id]
                inherited = {"security": document["security"], "requestBody": {}}
                yield method.upper(), path, {**inherited, **operation, "parameters": parameters}


def _section(document: Part, tag: Part) -> str:
    articles = [_article(*one) for one in _operations(document) if tag["name"] in one[2]["tags"]]
    return f"<section><h2>{escape(tag['description'])}</h2>{''.join(articles)}</section>"


def _article(method: str, path: str, operation: Part) -> str:
    key = " or ".join(next(iter(one)) for one in operation["security"])
    parameters = [
        (escape(one["name"]), f"{one['in']}, {_type(one['schema'])}", one["description"])
        for one in operation["parameters"]
    ]
    body = operation["requestBody"]
    responses = [
        (f'<b class="status-{status[0]}">{status}</b>', _content(response), response["description"])
        for status, response in operation["responses"].items()
    ]
    commands = curl_commands(method, path, operation)
    return (
        f'<article class="card" id="{operation["operationId"]}"><h3><span class="{method.lower()}">{method}</span> '
        f"<code>{escape(path)}</code></h3><p>{escape(operation['summary'])}.</p>{_prose(operation.get('description', ''))}"
        f'<p class="soft">{f"Key: {key}" if key else "No key is needed."}</p>'
        f"{''.join(f'<pre>{escape(one)}</pre>' for one in commands)}<h4>Parameters</h4>{_list(parameters)}"
        + (f"<h4>Body</h4>{_prose(body['description'])}<p>{_content(body)}</p>" if body else "")
        + f"<h4>Responses</h4>{_list(responses)}</article>"
    )


def _schema(name: str, schema: Part) -> str:
    required = schema.get("required", ())
    members = [
        (escape(key), _type(one) + ("" if key in required else ", optional"), one.get("description", ""))
        for key, one in schema.get("properties", {}).items()
    ]
    examples = "".join(
        f"<pre>{escape(one if isinstance(one, str) else json.dumps(one, indent=2))}</pre>"
        for one in schema.get("examples", ())
    )
    return (
        f'<article class="card" id="schema-{name}"><h3>{name} <small>{_type(schema)}</small></h3>'
        f"{_prose(schema.get('description', ''))}{_list(members)}"
        + (f"<details><summary>Example</summary>{examples}</details>" if examples else "")
        + "</article>"
    )


def _type(schema: Part) -> str:
    """Return what a value may be, with links to named schemas."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    if choices := schema.get("anyOf") or [schema[word] for word in ("then", "else") if word in schema]:
        return " or ".join(map(_type, choices))
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    text = schema["type"] if isinstance(schema["type"], str) else " or ".join(schema["type"])
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        text += f" of {_type(inner)}" if isinstance(inner, dict) else ""
    limits = [
        f"{word} {json.dumps(schema[word])}"
        for word in ("minimum", "maximum", "pattern", "default")
        if word in schema
    ]
    return ", ".join([text, *map(escape, limits)])


def _content(part: Part) -> str:
    contents = part.get("content", {}).items()
    return ", ".join(f"<code>{escape(name)}</code> {_type(content['schema'])}" for name, content in contents)


def _list(entries: list[tuple[str, str, str]]) -> str:
    """Return terms, each with a note beside it and a text below it."""
    lines = (f"<dt>{term} <small>{note}</small></dt><dd>{_prose(text)}</dd>" for term, note, text in entries)
    return f"<dl>{''.join(lines)}</dl>" if entries else ""


def _prose(text: str) -> str:
    """Return paragraphs, with what stands between backticks as code."""
    paragraphs = (re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(one)) for one in text.strip().split("\n\n"))
    return "".join(f"<p>{one}</p>" for one in paragraphs if one)


def _resolve(document: Part, node: Any) -> Any:
    """Return a part of the document with its references followed, except those to schemas."""
    if isinstance(node, list):
        return [_resolve(document, one) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node and "/schemas/" not in node["$ref"]:
        kind, name = node["$ref"].split("/")[-2:]
        return _resolve(document, document["components"][kind][name])
    return {key: _resolve(document, value) for key, value in node.items()}
