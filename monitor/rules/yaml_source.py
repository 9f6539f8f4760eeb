"""The source of a rules file: its YAML, its variables, and the lines of its mistakes.

`Yaml12Loader` reads YAML 1.2, as editors do. PyYAML's parser alone reads YAML 1.1. There `off:` is a field
named false, `22:00` is the number 1320, and `2026-11-22` is a date.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from monitor.errors import SettingsError


class Yaml12Loader(yaml.SafeLoader):
    """The loader of YAML 1.2. Only the core schema's null, true, false and numbers are more than text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (as in the class that it is derived from)


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]{1,18}", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)
del _kind, _pattern, _first

_VARIABLE = re.compile(r"(\$?)\$\{([^{}]*)(\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class VariableError(ValueError):
    """A variable is not set, or it is none. Its words name no value."""


def names_in(text: str) -> set[str]:
    """Return the names of the variables that a text asks for."""
    found = (match.groups() for match in _VARIABLE.finditer(text))
    return {name for escape, name, end in found if end and not escape and _NAME.fullmatch(name)}


def expand_variables(text: str, environment: Mapping[str, str]) -> str:
    """Return the text with each `${NAME}` replaced, where `$${` stands for `${`.

    Values are not expanded again, because a password may hold any signs. Raises VariableError."""

    def value(found: "re.Match[str]") -> str:
        escape, name, end = found.groups()
        if escape:
            return found[0][1:]
        if not end or not _NAME.fullmatch(name):
            raise VariableError(
                "holds ${ without a name and }; write ${NAME}, or $${ for these two letters themselves"
            )
        if name not in environment:
            raise VariableError(
                f"needs the variable {name}, which is not set; set it in the environment or in .env"
            )
        return environment[name]

    return _VARIABLE.sub(value, text)


MAX_TOLD = 25  # more than that is one mistake many times, or no rules file at all


@dataclass(frozen=True)
class Mistake:
    """A mistake in a rules file."""

    line: int | None
    """None: of the file as a whole."""
    where: str
    """The place, such as rules[2].group.wait. Empty for the whole file."""
    message: str


class RulesError(SettingsError):
    """A rules file cannot be used.

    The text names the line, the field, the value and the remedy. It shows no secret, and so may stand in the
    log and on the dashboard."""

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        self.file = file
        self.mistakes = tuple(mistakes)
        super().__init__(file, self.mistakes)

    def __str__(self) -> str:
        lines = [format_mistake(self.file, mistake) for mistake in self.mistakes[:MAX_TOLD]]
        left = len(self.mistakes) - MAX_TOLD
        return "\n".join([*lines, f"{self.file}: and {left} more"] if left > 0 else lines)


def format_mistake(file: str, mistake: Mistake) -> str:
    """Return the mistake as one line, with its place in the file."""
    place = file if mistake.line is None else f"{file}:{mistake.line}"
    return ": ".join(part for part in (place, mistake.where, mistake.message) if part)


MAX_DEPTH = 20  # rules, a rule, its match, any_of, … : a file of ours has eight
MAX_NODES = 50_000  # each time that an alias is used counts: a bomb of aliases is refused, not unfolded
SHOWN = 60  # characters of a wrong value that its message repeats

KeyPath = tuple[str | int, ...]

_SECRET = frozenset({"apprise", "webhook"})
_SECRET_SIGNS = ("://", "whsec_")
_YAML = "tag:yaml.org,2002:"
_TEXT = f"{_YAML}str"
_SCALARS: dict[str, Callable[[str], Any]] = {
    f"{_YAML}null": lambda _: None,
    f"{_YAML}bool": lambda text: text.lower() == "true",
    f"{_YAML}int": int,
    f"{_YAML}float": float,
}
_TAGS = {*_SCALARS, _TEXT, f"{_YAML}map", f"{_YAML}seq"}


@dataclass(frozen=True)
class SourceNode:
    """A value's place in the file."""

    line: int
    written: str | None
    """The value as in the file, before variables are filled in. None for a list or fields."""
    is_text: bool = False


class UnreadableSource(Exception):
    """The text is no file of ours at all."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake


@dataclass
class Source:
    """The content of a rules file. `data` is None if the file is empty."""

    data: Any = None
    places: dict[KeyPath, SourceNode] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)

    def mistake(self, path: KeyPath, message: str, show: bool = True) -> Mistake:
        """Return a mistake about a value, with its line and place.
        The value itself is shown unless it may be secret."""
        known_path = next(
            path[:length] for length in range(len(path), -1, -1) if path[:length] in self.places
        )
        place = self.places[known_path]
        where = (
            path if len(path) == len(known_path) or not isinstance(path[len(known_path)], int) else known_path
        )
        value_text = self._format_value(known_path, place) if show else ""
        return Mistake(place.line, format_path(where), f"{value_text} {message}".strip())

    def _format_value(self, path: KeyPath, place: SourceNode) -> str:
        if place.written is None:
            return ""
        if not _SECRET.isdisjoint(path) or any(sign in place.written for sign in _SECRET_SIGNS):
            return "what stands here (not shown, it may be secret)"
        short = place.written if len(place.written) <= SHOWN else place.written[:SHOWN] + "…"
        return repr(short) if place.is_text else short


def read(text: str, environment: Mapping[str, str]) -> Source:
    """Read a rules file. Raises UnreadableSource if the text is no YAML, or too much of it."""
    source = Source(places={(): SourceNode(1, None)})
    root = _compose(text)
    if root is not None:
        source.data = _Builder(source, environment).build(root, (), root.start_mark.line + 1)
    return source


def format_path(path: KeyPath) -> str:
    """Return the path as `rules[2].group.wait`. A name that may be a misplaced URL is not shown."""
    parts = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        elif any(sign in part for sign in _SECRET_SIGNS):
            parts.append("[…]")
        else:
            short = part if len(part) <= SHOWN else part[:SHOWN] + "…"
            parts.append(f".{short}" if short.replace("-", "").replace("_", "").isalnum() else f"[{short!r}]")
    return "".join(parts).removeprefix(".")


def _compose(text: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=Yaml12Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        # Not the error's own text: it repeats the line, and what stands there may be a secret.
        there = text.splitlines()[mark.line : mark.line + 1] if mark else []
        hint = "; within { } put ${NAME} between quotes" if "${" in "".join(there) else ""
        raise UnreadableSource(
            Mistake(mark.line + 1 if mark else None, "", f"is no YAML: {message}{hint}")
        ) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableSource(
            Mistake(line, "", f"holds a character that YAML does not allow: {error.reason}")
        ) from None
    except RecursionError:
        raise UnreadableSource(Mistake(None, "", "is nested too deeply")) from None
    return node


class _Builder:
    """The builder of values from nodes. It notes the place of each value, and its mistakes."""

    def __init__(self, source: Source, environment: Mapping[str, str]) -> None:
        self._source = source
        self._environment = environment
        self._nodes = 0

    def build(self, node: yaml.Node, path: KeyPath, line: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise UnreadableSource(
                Mistake(line, "", f"holds more than {MAX_NODES} values, those of aliases (*name) counted")
            )
        if len(path) > MAX_DEPTH:
            raise UnreadableSource(
                Mistake(line, format_path(path[:3]), f"is nested more than {MAX_DEPTH} deep")
            )
        if node.tag not in _TAGS:
            self._wrong(line, path, "has a tag (!…), which is not read here; leave it out")
            return None
        if isinstance(node, yaml.MappingNode):
            self._source.places[path] = SourceNode(line, None)
            return {key: self.build(value, (*path, key), at) for key, value, at in self._entries(node, path)}
        if isinstance(node, yaml.SequenceNode):
            self._source.places[path] = SourceNode(line, None)
            return [
                self.build(item, (*path, n), item.start_mark.line + 1) for n, item in enumerate(node.value)
            ]
        self._source.places[path] = SourceNode(line, node.value, node.tag == _TEXT)
        return self._scalar(node, path)

    def _entries(self, node: yaml.MappingNode, path: KeyPath) -> Iterator[tuple[str, yaml.Node, int]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT:
                self._wrong(line, path, "has a name that is no text; put it between quotes")
            elif key.value in seen:
                self._wrong(
                    line, (*path, key.value), f"is given twice, in line {seen[key.value]} too; keep one"
                )
            else:
                seen[key.value] = line
                yield key.value, value, line

    def _scalar(self, node: yaml.Node, path: KeyPath) -> Any:
        text: str = node.value
        try:
            if node.tag == _TEXT:
                return expand_variables(text, self._environment)
            number = _SCALARS[node.tag](text)
        except VariableError as error:
            self._source.mistakes.append(self._source.mistake(path, str(error), show=False))
            return text
        except ValueError:  # a tag that is written out promises what the text is not
            return text
        return text if isinstance(number, float) and not math.isfinite(number) else number

    def _wrong(self, line: int, path: KeyPath, message: str) -> None:
        self._source.mistakes.append(Mistake(line, format_path(path), message))


@dataclass(frozen=True)
class ValidationIssue:
    """A fault that the check of the values has found."""

    path: KeyPath
    message: str
    show: bool = True
    """True if the value stands before the message."""
