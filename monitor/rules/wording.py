"""What pydantic finds wrong with the file's values, in words that name the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from monitor.renamed import RULE_FIELDS, instead
from monitor.rules.editors import fields_at
from monitor.rules.mistakes import Mistake
from monitor.rules.source import Path, Source

_WORDS = {
    "missing": "is missing",
    "string_type": "is no text; put it between quotes",
    "tuple_type": "must be a list, such as [a, b]",
    "model_type": "must have fields, such as `name: value`",
    "model_attributes_type": "must have fields, such as `name: value`",
    "dict_type": "must have names, such as `name: value`",
    "int_type": "is no whole number",
    "int_parsing": "is no whole number",
    "int_from_float": "is no whole number",
    "float_type": "is no number",
    "float_parsing": "is no number",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "string_too_short": "is empty",
}
_HIDDEN = {"missing", "extra_forbidden"}


def mistakes_of(source: Source, errors: Iterable[Any]) -> list[Mistake]:
    return [_mistake(source, error) for error in errors]


def _mistake(source: Source, error: Any) -> Mistake:
    path: Path = tuple(part for part in error["loc"] if part != "[key]")
    kind: str = error["type"]
    if kind == "extra_forbidden":
        return source.mistake(path, _unknown(path), show=False)
    return source.mistake(path, _words(kind, error), show=kind not in _HIDDEN)


def _words(kind: str, error: Any) -> str:
    if kind == "literal_error":
        return _none_of(error["input"], error["ctx"]["expected"])
    if kind == "value_error":
        return str(error["ctx"]["error"])
    told: str = error["msg"]
    return _WORDS.get(kind) or told.replace("Input should", "should", 1)


def _none_of(given: object, expected: str) -> str:
    """`expected` is pydantic's: 'a', 'b' or 'c'."""
    allowed = [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",")]
    return f"is none of {', '.join(allowed)}{meant(str(given), allowed)}"


def _unknown(path: Path) -> str:
    if new := RULE_FIELDS.get(str(path[-1])):
        return instead(new)
    known = sorted(fields_at(path[:-1]))
    return f"there is no such field{meant(str(path[-1]), known) or '; known are ' + ', '.join(known)}"


def meant(given: str, known: Iterable[str]) -> str:
    """The nearest known name, as a question; nothing where none is near."""
    near = get_close_matches(given, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""
