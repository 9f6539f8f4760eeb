"""The types of fields in the rules file: durations, globs, time zones and addresses.

Globs know * and ? and nothing else, as everywhere in Windsock, and they are case-sensitive.

The cost of a match is bounded, because clients of the feed choose globs too. Each piece between two stars is
searched once, from left to right, in time proportional to the name. A piece that has a ? between letters
(`*a?b*`) is the exception: it takes a step for each of its letters. `searched` counts the steps.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

LONGEST = timedelta(days=366)
"""A year and a day: longer is a slip of the pen, and far longer no date can carry."""
MAX_LENGTH = 100  # characters: seven units with their numbers, and blanks between them
_ONE = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(ms|min|s|m|h|d|w)"
PATTERN = rf"0|{_ONE}(\s*{_ONE})*"

_PART = re.compile(_ONE)
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_WRITTEN = ("d", "h", "m", "s")
_EXAMPLES = "such as 30s, 15m, 4h, 1d or 1h30m"


def duration(value: object) -> object:
    """Parse `1h30m` as a timedelta.
    A value that is neither text nor number is left to pydantic. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value != 0:
        raise ValueError(f"has no unit; write a duration {_EXAMPLES}")
    if not isinstance(value, str):
        return value
    if len(value) > MAX_LENGTH or not re.fullmatch(PATTERN, value.strip()):
        raise ValueError(f"is no duration {_EXAMPLES}")
    try:
        total = sum((float(number) * _UNITS[unit] for number, unit in _PART.findall(value)), timedelta(0))
    except OverflowError:
        total = timedelta.max
    if total > LONGEST:
        raise ValueError(f"is longer than a year; write a duration {_EXAMPLES}")
    return total


def a_minute_at_least(value: timedelta) -> timedelta:
    """Raise ValueError if the duration is below a minute, because what repeats must not do so in a hurry."""
    if value < timedelta(minutes=1):
        raise ValueError("is too short; write 1m or longer")
    return value


def format_duration(value: timedelta) -> str:
    """Return the shortest text that `duration` reads as this value: `1h30m`."""
    parts, left = [], value
    for unit in _WRITTEN:
        count, left = divmod(left, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if left:
        parts.append(f"{left / _UNITS['ms']:.3f}".rstrip("0").rstrip(".") + "ms")
    return "".join(parts) or "0"


VARIABLE = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_CLOCK = r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?"


def clock_time(value: object) -> object:
    """Parse `22:00` as a time. Pydantic would take a number for seconds, and a zone. Raises ValueError."""
    if isinstance(value, time):
        return value
    if not isinstance(value, str) or not re.fullmatch(_CLOCK, value):
        raise ValueError("is no time of day such as 22:00 or 07:30")
    return time.fromisoformat(value.rjust(5, "0") if value.count(":") == 1 else value.rjust(8, "0"))


def no_truth(value: object) -> object:
    """Raise ValueError for true and false, which pydantic would take for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("is no number")  # noqa: TRY004 (pydantic's way)
    return value


class _OneOrSeveral:
    """A list, or without brackets its only value."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_as_tuple, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        several = handler(schema)
        return {"anyOf": [several["items"], several]}


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, (str, int)) and not isinstance(value, bool) else value


class DurationForm:
    """The JSON schema of a duration."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "type": ["string", "integer"],
            "pattern": f"^({PATTERN}|{VARIABLE})$",
            "maxLength": MAX_LENGTH,
            "maximum": 0,
            "minimum": 0,
        }


class ClockTimeForm:
    """The JSON schema of a time of day."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^({_CLOCK}|{VARIABLE})$"}


T = TypeVar("T")
Several = Annotated[tuple[T, ...], _OneOrSeveral()]
"""`[a, b]`, or `a` for `[a]`."""

MAX_GLOB = 1500  # characters: an asset's URI, the longest name there is
MAX_SEARCHED = 500  # of one reader's filter: 0.1 ms for the longest name, some ms for a chunk of events
COMPILED = 8192  # patterns kept: more than a file of the largest size holds
PLACED = 64  # names kept with the places of their letters: one name meets many globs

WILD = frozenset("*?")


def matches(glob: str, name: str) -> bool:
    """Return True if the glob matches the name."""
    return glob in ("*", name) or (not WILD.isdisjoint(glob) and _compile(glob).matches(name))


def matches_any(globs: Sequence[str], name: str) -> bool:
    """Return True if one of the globs matches the name."""
    return any(matches(glob, name) for glob in globs)


def searched(globs: Iterable[str]) -> int:
    """Return the most steps that matching a name takes, apart from one look at the name for each glob."""
    return sum(_compile(glob).searched for glob in globs)


@lru_cache(COMPILED)
def _compile(glob: str) -> "_Glob":
    return _Glob(glob)


class _Piece:
    """The text between two stars of a glob.
    It is a core that begins and ends with a letter, and the ? around it."""

    def __init__(self, text: str) -> None:
        core = text.strip("?")
        self._before = len(text) - len(text.lstrip("?")) if core else len(text)
        self._after = len(text) - self._before - len(core)
        self._length = len(core)
        # With a ? inside, letter by letter. Without, re looks for it in one go, whatever the name: it has a
        # table of how far to go back (Knuth, Morris, Pratt), which str.find() lacks for names of this length.
        characters = [(at, character) for at, character in enumerate(core) if character != "?"]
        self.characters = characters if len(characters) < len(core) else []
        self._find = re.compile(re.escape(core)).search

    def end(self, name: str, begin: int) -> int:
        """Return the end of the first such text at or behind `begin`, or -1."""
        begin += self._before
        if self.characters:
            start = self._first(name, begin)
        else:
            found = self._find(name, begin) if begin <= len(name) else None
            start = found.start() if found else -1
        end = start + self._length + self._after
        return end if start >= 0 and end <= len(name) else -1

    def _first(self, name: str, begin: int) -> int:
        """Return the first start, by testing all starts at once.
        Bit n is set if the letters so far fit a start at n."""
        places = _places(name)
        starts = -1 << begin
        for at, character in self.characters:
            starts &= places.get(character, 0) >> at
            if not starts:
                return -1
        return (starts & -starts).bit_length() - 1


class _Glob:
    def __init__(self, glob: str) -> None:
        first, *rest = re.split(r"\*+", glob)
        self._has_star = bool(rest)
        last = rest.pop() if rest else ""
        self._begins, self._ends = _there(first), _there(last)
        self._first, self._last = len(first), len(last)
        self._between = [_Piece(text) for text in rest]
        self._least = len(glob.replace("*", ""))
        self.searched = sum(1 + len(piece.characters) for piece in self._between)

    def matches(self, name: str) -> bool:
        end = len(name) - self._last
        if len(name) < self._least or not self._begins(name) or not self._ends(name, end):
            return False
        if not self._has_star:
            return len(name) == self._least
        at = self._first
        for piece in self._between:
            at = piece.end(name, at)
            if not 0 <= at <= end:
                return False
        return True


def _there(text: str) -> Callable[..., re.Match[str] | None]:
    """Return a function that tests whether a name has this text at a place."""
    return re.compile(
        "".join("." if character == "?" else re.escape(character) for character in text), re.DOTALL
    ).match


@lru_cache(PLACED)
def _places(name: str) -> dict[str, int]:
    """Return the places of each letter of a name, as bits."""
    places: dict[str, bytearray] = {}
    size = len(name) // 8 + 1
    for at, character in enumerate(name):
        places.setdefault(character, bytearray(size))[at // 8] |= 1 << at % 8
    return {character: int.from_bytes(bits, "little") for character, bits in places.items()}


UTC = "UTC"


def zone(name: str) -> tzinfo:
    """Return the time zone of this name. Raises KeyError if no such zone exists."""
    if name == UTC:  # also on a machine without the zones' files
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # missing, a path, or a folder such as "Europe"
        raise KeyError(name) from None


def is_zone(name: str) -> bool:
    """Return True if a time zone of this name exists."""
    try:
        zone(name)
    except KeyError:
        return False
    return True


def list_zones() -> set[str]:
    """Return the names of all time zones."""
    return available_timezones()
