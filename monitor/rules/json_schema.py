"""The JSON Schema of the rules file, for editors."""

import json
import sys
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from monitor.rules.field_types import format_duration
from monitor.rules.model import Config
from monitor.rules.yaml_source import KeyPath

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def json_schema() -> Schema:
    """Return the JSON schema of the file as it is written, with ${NAME} allowed for a duration or a time."""
    schema = Config.model_json_schema(schema_generator=_Generator)
    # A watch by the name of a default one has that one's kind (loader.py).
    schema["$defs"]["Watch"]["required"].remove("watch")
    return {"$schema": DIALECT, "title": "windsock.yaml", **_plain(schema)}


def fields_at(path: KeyPath) -> frozenset[str]:
    """Return the names of the fields that the file may have at a place."""
    schema = _schema()
    node = schema
    for part in path:
        node = _step(schema, node, part)
    return frozenset(name for variant in _variants(schema, node) for name in variant.get("properties", ()))


@lru_cache(1)
def _schema() -> Schema:
    return json_schema()


def _step(schema: Schema, node: Schema, part: str | int) -> Schema:
    for variant in _variants(schema, node):
        if isinstance(part, int) and "items" in variant:
            items: Schema = variant["items"]
            return items
        if isinstance(part, str) and part in variant.get("properties", {}):
            field: Schema = variant["properties"][part]
            return field
        if isinstance(part, str) and isinstance(variant.get("additionalProperties"), dict):
            values: Schema = variant["additionalProperties"]
            return values
    return {}


def _variants(schema: Schema, node: Schema) -> list[Schema]:
    if "$ref" in node:
        return [schema["$defs"][node["$ref"].rpartition("/")[2]]]
    return (
        [variant for option in node["anyOf"] for variant in _variants(schema, option)]
        if "anyOf" in node
        else [node]
    )


def _plain(node: Any) -> Any:
    """Return the schema without pydantic's titles, and with descriptions in one line."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    keywords = {
        name: _plain(value) for name, value in node.items() if name != "title" or not isinstance(value, str)
    }
    if isinstance(keywords.get("description"), str):
        keywords["description"] = " ".join(keywords["description"].split())
    return keywords


FILE = Path("docs/windsock.schema.json")


def text() -> str:
    """Return the JSON schema as text."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> None:
    """Write the JSON schema to the given file."""
    file = Path(arguments[0]) if arguments else FILE
    file.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
