"""The API's OpenAPI description, which adds to FastAPI's own what FastAPI cannot know."""

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from monitor.settings import Settings
from monitor.web.api.ingest_models import REF, schemas
from monitor.web.dependencies import COOKIE, CSRF_HEADER
from monitor.web.paths import prefix_of
from monitor.web.responses import Problem, ResponseModel

DESCRIPTION = (
    "What happens in Airflow, as Windsock knows it: the log and its live feed, runs, assets, incidents, "
    "silences, and what was mailed. Lists are paged: follow `next` (or the header Link). Errors are "
    "`application/problem+json` (RFC 9457). Answers have an ETag: send it back as If-None-Match. "
    "docs/api.md has more, with commands to try."
)
TAGS = {
    "events": "All that was reported: the log, its live feed, and the endpoint for Airflow's plugin",
    "runs": "Runs of DAGs with their tasks; the last training run",
    "assets": "Assets, and what their last update reported",
    "deliveries": "What was mailed or posted to whom, what was not, and why; sending one again",
    "incidents": "What is wrong, since when, and who has acknowledged it or taken it over",
    "silences": "What nobody is notified of for a while, by whom and why",
    "tokens": "What programs sign in with",
    "health": "For what watches the monitor itself",
}
SCHEMES: dict[str, dict[str, Any]] = {
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": f"A browser's, from /login. What changes something also needs the header "
        f"{CSRF_HEADER}, with the token that stands in every page.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A program's: Airflow's JWT (`POST /auth/token` there), or a Windsock token, `wst_…`.",
    },
}
IF_NONE_MATCH: dict[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the answer that you have: where it still holds, the answer is 304",
    "schema": {"type": "string"},
    "example": '"5f1a0d3c9b7e42f8a6d4c1b2e3f40516"',
}


def describe(app: FastAPI, settings: Settings) -> None:
    """Make the app's description ours. It is built once, when it is first asked for."""
    security: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES] if settings.auth != "none" else []

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app, prefix_of(settings.url) or "/", security)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way


def _build(app: FastAPI, server: str, security: list[dict[str, list[str]]]) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title,
        version=app.version,
        summary="What Airflow's runs, tasks and assets do, as it happens",
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        servers=[{"url": server, "description": "This monitor"}],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    schema["security"] = security
    components = schema.setdefault("components", {})
    components["securitySchemes"] = SCHEMES
    components["schemas"] |= schemas() | _problem_schemas(Problem)
    for unused in (
        "HTTPValidationError",
        "ValidationError",
    ):  # FastAPI's own form of errors, which the monitor never sends
        components["schemas"].pop(unused, None)
    for name, example in _examples(ResponseModel):
        if name in components["schemas"]:
            components["schemas"][name]["examples"] = example
    for path in schema["paths"].values():
        for operation in path.values():
            _complete(operation)
    return schema


def _problem_schemas(model: type[Problem]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=REF)
    return {**schema.pop("$defs", {}), model.__name__: schema}


def _examples(model: type[ResponseModel]) -> Iterator[tuple[str, Any]]:
    """Yield the examples of all answers, by name. FastAPI leaves null values out of them."""
    for subclass in model.__subclasses__():
        extra = subclass.model_config.get("json_schema_extra")
        if isinstance(extra, dict) and "examples" in extra:
            yield subclass.__name__, extra["examples"]
        yield from _examples(subclass)


def _complete(operation: dict[str, Any]) -> None:
    text = re.sub(r"(?=[A-Z])", " ", operation["operationId"])  # the function's name may be any word
    operation["summary"] = text.capitalize()
    operation.setdefault("description", operation["summary"])
    if "304" in operation["responses"]:
        operation.setdefault("parameters", []).append(IF_NONE_MATCH)
