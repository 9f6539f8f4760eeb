"""The page docs/event-types.md: the data of each type, and a golden event of tests/contract."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from monitor.events.data import DATA, Data
from scripts.docs_reference.markdown import code, heading, joined, linked, table
from scripts.docs_reference.settings import docstrings, sentence

CONTRACT = Path(__file__).parents[2] / "tests" / "contract"
ABOUT = """
What is in `data` of each event. What an event is, what its id is made of, and what each type means:
[Events](events.md). Fields are only ever added, so read the ones you know and pass over the others. The
examples are the golden events of `tests/contract/`, to which the plugin and the monitor are both held.
"""


def page() -> str:
    found = heading("Event types", "monitor/events/data.py and tests/contract")
    return joined((found, ABOUT.lstrip(), *_types()))


def _types() -> Iterator[str]:
    names_by_model: dict[type[Data], list[str]] = {}
    for name, data in DATA.items():
        names_by_model.setdefault(data, []).append(name)
    for data, types in names_by_model.items():
        names = ", ".join(code(name) for name in types)
        yield joined((f"## {_title(types)}\n", f"{names}\n", _fields(data), _example(types)))


def _title(types: list[str]) -> str:
    first = types[0]
    return code(first if len(types) == 1 else first.rpartition(".")[0] + ".*")


def _fields(data: type[BaseModel]) -> str:
    meanings: dict[str, str] = {}
    for model in reversed(data.__mro__):
        meanings |= docstrings(model) if issubclass(model, BaseModel) and model is not BaseModel else {}
    rows = [
        (
            code(name),
            _type(field.annotation),
            "always" if field.is_required() else "",
            _meaning(meanings, name),
        )
        for name, field in _last(data.model_fields)
    ]
    return table(("field", "is", "there", "meaning"), rows)


def _last(fields: dict[str, FieldInfo]) -> list[tuple[str, FieldInfo]]:
    """The fields that every type has after those of its own."""
    return sorted(fields.items(), key=lambda item: item[0] == "reported_by")


def _meaning(meanings: dict[str, str], name: str) -> str:
    return linked(sentence(meanings[name])) if name in meanings else ""


def _type(annotation: Any) -> str:
    name = getattr(annotation, "__name__", "")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return ", ".join(code(field) for field in annotation.model_fields)
    plain = {"datetime": "RFC 3339", "str": "text", "int": "number", "float": "number", "bool": "true, false"}
    if name in plain:
        return plain[name]
    inner = [inner_type for inner_type in get_args(annotation) if inner_type is not type(None)]
    if inner and all(isinstance(inner_type, str) for inner_type in inner):
        return " ".join(code(inner_type) for inner_type in inner)
    if name in ("dict", "list", "tuple"):
        return {"dict": "object"}.get(name, "list")
    return _type(inner[0]) if inner else name


def _example(types: list[str]) -> str:
    """The first golden event that is of one of them."""
    for file in sorted(CONTRACT.glob("*.json")):
        event = _event(json.loads(file.read_text()))
        if event is not None and event.get("type") in types:
            shown = json.dumps(event, indent=2, ensure_ascii=False)
            return f"```json\n{shown}\n```\n"
    return ""


def _event(golden: Any) -> dict[str, Any] | None:
    event = golden.get("event", golden) if isinstance(golden, dict) else None
    return event if isinstance(event, dict) else None
