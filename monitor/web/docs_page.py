"""`/docs`: the API's description as a plain page of our own, made from /openapi.json.

FastAPI's own page loads its program from another site, which the content security policy refuses and a
machine without internet cannot.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from monitor.web.problem_kinds import KINDS
from monitor.web.reader import MaybeReader
from monitor.web.rendering import render

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request, reader: MaybeReader) -> HTMLResponse:
    """Every operation with its parameters and answers. It tells nothing of any run, so anyone may read it."""
    openapi = request.app.openapi()
    operations = [
        {"parameters": []}
        | operation
        | {"method": method.upper(), "path": path, "answers": _answers(operation)}
        | {"examples": list(_examples(openapi, operation))}
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    tags = dict.fromkeys(operation.get("tags", ["other"])[0] for operation in operations)
    groups = {tag: [one for one in operations if one.get("tags", ["other"])[0] == tag] for tag in tags}
    shown = {"groups": groups, "info": openapi["info"], "schemas": _schemas(openapi), "name_of": name_of}
    shown |= {"problems": KINDS, "shown_as": _shown_as}
    return render(request, "docs.html", reader, **shown)


def _examples(openapi: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is sent, and what is answered where all goes well: each by a name, from its first media type."""
    body = operation.get("requestBody", {}).get("content", {})
    good = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    contents = {"sent": body} | {f"{status}": answer.get("content", {}) for status, answer in good.items()}
    for name, content in contents.items():
        for kind, told in content.items():
            shown = told.get("example") or _example_of(openapi, told.get("schema", {}))
            if shown is not None:
                yield f"{name}, {kind}", shown


def _example_of(openapi: dict[str, Any], schema: dict[str, Any]) -> Any:
    found = openapi["components"]["schemas"].get(name_of(schema), {})
    return next(iter(found.get("examples", ())), None)


def _shown_as(value: object) -> object:
    """A parameter's example as it is written in an address."""
    return value[0] if isinstance(value, list) else value


def _answers(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"status": status, "description": answer["description"], "shape": _shape(answer)}
        for status, answer in sorted(operation["responses"].items())
    ]


def _shape(answer: dict[str, Any]) -> str:
    """The name of an answer's schema, or its media type."""
    for kind, content in answer.get("content", {}).items():
        return name_of(content.get("schema", {})) or kind
    return ""


def _schemas(openapi: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The fields of each schema that answers are made of, by name, with their types."""
    found = openapi.get("components", {}).get("schemas", {})
    return {
        name: {field: name_of(kind) for field, kind in schema["properties"].items()}
        for name, schema in sorted(found.items())
        if "properties" in schema
    }


def name_of(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words: `list of Run`, `string or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(name_of(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {name_of(schema.get('items', {})) or 'anything'}"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = schema.get("format") or schema.get("title" if "properties" in schema else "type", "")
    return str(kind)
