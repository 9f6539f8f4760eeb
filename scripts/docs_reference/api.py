"""The page docs/api-reference.md: every operation, from the monitor's OpenAPI description."""

from collections.abc import Iterator
from typing import Any

from monitor.app import create_app
from monitor.settings import Settings
from scripts.docs_reference.markdown import code, heading, joined, linked, table

ABOUT = """
The monitor describes itself in the same way at `/docs`, with every schema, and as OpenAPI 3.1 at
`/openapi.json`. How to sign in, page, ask again cheaply, and read errors: [The API](api.md). The feed has
a page of its own: [The feed](feed.md).
"""
METHODS = ("get", "post", "put", "patch", "delete")


def page() -> str:
    schema = create_app(Settings(_env_file=None, auth="none")).openapi()
    return joined((heading("API reference", "the monitor's OpenAPI"), ABOUT.lstrip(), *_tags(schema)))


def _tags(schema: dict[str, Any]) -> Iterator[str]:
    operations = list(_operations(schema))
    tags = list(dict.fromkeys(tag for tag, _ in operations))
    for tag in tags:
        yield f"## {tag.capitalize()}\n"
        yield from (text for operation_tag, text in operations if operation_tag == tag)


def _operations(schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, methods in schema["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                yield operation.get("tags", ["other"])[0], _operation(f"{method.upper()} {path}", operation)


def _operation(name: str, operation: dict[str, Any]) -> str:
    parameters = [
        (
            code(parameter["name"]),
            parameter["in"],
            _shape(parameter.get("schema", {})),
            parameter.get("description", ""),
        )
        for parameter in operation.get("parameters", [])
    ]
    answers = [
        (code(status), _content(answer), answer.get("description", ""))
        for status, answer in operation["responses"].items()
        if not _is_problem(answer)
    ]
    problems = " ".join(
        code(status) for status, answer in operation["responses"].items() if _is_problem(answer)
    )
    body = _content(operation.get("requestBody", {}))
    return joined(
        (
            f"### `{name}`\n",
            linked(operation.get("description", operation.get("summary", ""))) + "\n",
            table(("parameter", "in", "is", "meaning"), parameters),
            f"Body: {body}\n" if body else "",
            table(("status", "body", "meaning"), answers),
            f"[Errors](api.md#errors): {problems}\n" if problems else "",
        )
    )


def _is_problem(answer: dict[str, Any]) -> bool:
    return "application/problem+json" in answer.get("content", {})


def _content(schema: dict[str, Any]) -> str:
    """The media types and what each is."""
    return ", ".join(
        f"{code(media)} {_shape(content.get('schema', {}))}".strip()
        for media, content in schema.get("content", {}).items()
    )


def _shape(schema: dict[str, Any]) -> str:
    """A schema in a word or two; its whole is at /docs."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " ".join(code(str(value)) for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(
            dict.fromkeys(_shape(option) for option in schema["anyOf"] if option.get("type") != "null")
        )
    if schema.get("type") == "array":
        return f"several {_shape(schema.get('items', {}))}".strip()
    return str(schema.get("format") or schema.get("type") or "")
