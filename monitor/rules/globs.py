"""Globs with * and ? and nothing else, as everywhere in Windsock; matched by case.

What a match costs is bounded, for readers of the feed choose globs too: each piece between two stars is
looked for once, from left to right. That takes time in proportion to the name, but for a piece that has a ?
between letters (`*a?b*`): that one takes a step for each of its letters. `searched` counts the steps.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

MAX_GLOB = 1500  # characters: an asset's URI, the longest name there is
MAX_SEARCHED = 500  # of one reader's filter: 0.1 ms for the longest name, some ms for a block of events
COMPILED = 8192  # patterns kept: more than a file of the largest size holds
PLACED = 64  # names kept with the places of their letters: one name meets many globs

WILD = frozenset("*?")


def matches(glob: str, name: str) -> bool:
    return glob in ("*", name) or (not WILD.isdisjoint(glob) and _compiled(glob).matches(name))


def matches_any(globs: Sequence[str], name: str) -> bool:
    return any(matches(glob, name) for glob in globs)


def searched(globs: Iterable[str]) -> int:
    """How many steps it takes at most to match a name, beside one look at it for each glob."""
    return sum(_compiled(glob).searched for glob in globs)


@lru_cache(COMPILED)
def _compiled(glob: str) -> "_Glob":
    return _Glob(glob)


class _Piece:
    """What stands between two stars: a core that begins and ends with a letter, and the ? around it."""

    def __init__(self, text: str) -> None:
        core = text.strip("?")
        self._before = len(text) - len(text.lstrip("?")) if core else len(text)
        self._after = len(text) - self._before - len(core)
        self._length = len(core)
        # With a ? inside, letter by letter. Without, re looks for it in one go, whatever the name: it has a
        # table of how far to go back (Knuth, Morris, Pratt), which str.find() lacks for names of this length.
        letters = [(at, letter) for at, letter in enumerate(core) if letter != "?"]
        self.letters = letters if len(letters) < len(core) else []
        self._find = re.compile(re.escape(core)).search

    def end(self, name: str, begin: int) -> int:
        """Where the first such text at or behind `begin` ends, or -1."""
        begin += self._before
        if self.letters:
            start = self._first(name, begin)
        else:
            found = self._find(name, begin) if begin <= len(name) else None
            start = found.start() if found else -1
        end = start + self._length + self._after
        return end if start >= 0 and end <= len(name) else -1

    def _first(self, name: str, begin: int) -> int:
        """All starts at once: bit n is set where the letters so far fit a start at n."""
        places = _places(name)
        starts = -1 << begin
        for at, letter in self.letters:
            starts &= places.get(letter, 0) >> at
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
        self.searched = sum(1 + len(piece.letters) for piece in self._between)

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
    """Says whether a name has this text at a place."""
    return re.compile(
        "".join("." if letter == "?" else re.escape(letter) for letter in text), re.DOTALL
    ).match


@lru_cache(PLACED)
def _places(name: str) -> dict[str, int]:
    """The places of each letter of a name, as bits."""
    places: dict[str, bytearray] = {}
    size = len(name) // 8 + 1
    for at, letter in enumerate(name):
        places.setdefault(letter, bytearray(size))[at // 8] |= 1 << at % 8
    return {letter: int.from_bytes(bits, "little") for letter, bits in places.items()}
