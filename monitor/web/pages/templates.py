"""The pages of message templates and of the API's description.

`description` serves `/openapi.json`, and `docs` serves `/docs`, the same description as a plain page.
FastAPI's own page loads its program from another site. The content security policy refuses that, and a
machine without internet access cannot load it.

Anyone may ask for both, and making either takes tens of milliseconds in which no other request is answered.
So `prepare` makes each of them once."""

import json
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from starlette.exceptions import HTTPException

from monitor.delivery.messages.renderer import RenderedMessage
from monitor.web.dependencies import OptionalPagePrincipal, PagePrincipal
from monitor.web.pages.deliveries import frame_response
from monitor.web.paths import path_prefix
from monitor.web.problems import KINDS
from monitor.web.services import Services, ServicesDep
from monitor.web.templating import render, render_part

router = APIRouter(prefix="/templates", include_in_schema=False)


@router.get("")
async def list_templates(request: Request, services: ServicesDep, principal: PagePrincipal) -> HTMLResponse:
    """Show each template's name, where it is from, and what is wrong with it."""
    found = await services.database.run(services.renderer.templates)
    return render(request, "templates.html", principal, templates=found)


@router.get("/{name}")
async def show_template(
    request: Request, services: ServicesDep, principal: PagePrincipal, name: str
) -> HTMLResponse:
    """Show a mail as mail programs show it, and as plain text."""
    rendered = await _preview(services, name)
    found = await services.database.run(services.renderer.templates)
    about = next(template for template in found if template.name == name)
    return render(request, "template.html", principal, name=name, about=about, mail=rendered)


@router.get("/{name}/html")
async def html(services: ServicesDep, _principal: PagePrincipal, name: str) -> HTMLResponse:
    """Answer with the HTML part alone, for the frame."""
    return frame_response((await _preview(services, name)).html)


async def _preview(services: Services, name: str) -> RenderedMessage:
    """Render a template's preview. The name is looked up in the list, so it leads to no other file."""
    found = await services.database.run(services.renderer.templates)
    if name not in {template.name for template in found}:
        raise HTTPException(404, f"No template {name!r} is known here.")
    return await services.database.run(partial(services.renderer.preview, name))


docs_router = APIRouter(include_in_schema=False)


@docs_router.get("/openapi.json")
async def description(request: Request) -> Response:
    """Return the API's description, for programs."""
    return Response(_description(request.app), media_type="application/json")


@docs_router.get("/docs")
async def docs(request: Request, principal: OptionalPagePrincipal) -> HTMLResponse:
    """Show every operation with its parameters and answers. The page names no run, so anyone may read it."""
    return render(request, "docs.html", principal, told=_render_reference(request.app, path_prefix(request)))


def prepare(app: FastAPI, prefix: str) -> None:
    """Make both before anybody asks."""
    _description(app)
    _render_reference(app, prefix)


@lru_cache(maxsize=1)  # a process has one app
def _description(app: FastAPI) -> bytes:
    return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()


@lru_cache(maxsize=1)  # and that has one prefix
def _render_reference(app: FastAPI, prefix: str) -> Markup:
    openapi = app.openapi()
    operations = [
        {"parameters": []}
        | operation
        | {"method": method.upper(), "path": path, "answers": _answers(operation)}
        | {"examples": list(_examples(openapi, operation))}
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    tags = dict.fromkeys(operation.get("tags", ["other"])[0] for operation in operations)
    groups = {
        tag: [operation for operation in operations if operation.get("tags", ["other"])[0] == tag]
        for tag in tags
    }
    values = {"groups": groups, "info": openapi["info"], "schemas": _schemas(openapi), "name_of": name_of}
    values |= {"problems": KINDS, "shown_as": _format_example}
    return render_part(prefix, "docs_told.html", **values)


def _examples(openapi: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what is sent, and what is answered on success, each by a name, from its first media type."""
    body = operation.get("requestBody", {}).get("content", {})
    good = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    contents = {"sent": body} | {f"{status}": answer.get("content", {}) for status, answer in good.items()}
    for name, content in contents.items():
        for kind, media in content.items():
            example = media.get("example") or _example_of(openapi, media.get("schema", {}))
            if example is not None:
                yield f"{name}, {kind}", example


def _example_of(openapi: dict[str, Any], schema: dict[str, Any]) -> Any:
    found = openapi["components"]["schemas"].get(name_of(schema), {})
    return next(iter(found.get("examples", ())), None)


def _format_example(value: object) -> object:
    """Return a parameter's example as it is written in an address."""
    return value[0] if isinstance(value, list) else value


def _answers(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"status": status, "description": answer["description"], "shape": _shape(answer)}
        for status, answer in sorted(operation["responses"].items())
    ]


def _shape(answer: dict[str, Any]) -> str:
    """Return the name of an answer's schema, or its media type."""
    for kind, content in answer.get("content", {}).items():
        return name_of(content.get("schema", {})) or kind
    return ""


def _schemas(openapi: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the fields of each schema that answers are made of, by name, with their types."""
    found = openapi.get("components", {}).get("schemas", {})
    return {
        name: {field: name_of(kind) for field, kind in schema["properties"].items()}
        for name, schema in sorted(found.items())
        if "properties" in schema
    }


def name_of(schema: dict[str, Any]) -> str:
    """Return a JSON schema in a few words: `list of Run`, `string or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(name_of(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {name_of(schema.get('items', {})) or 'anything'}"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = schema.get("format") or schema.get("title" if "properties" in schema else "type", "")
    return str(kind)
