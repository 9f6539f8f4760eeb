"""Plain text within the width of a terminal, whatever stands in it.

Templates write a line a thought; here each is folded under itself: behind its indent, behind the mark of a
quoted log, or beside its label. Addresses stay whole, so that they can be clicked and copied.
"""

import re
import unicodedata
from collections.abc import Iterator

WIDTH = 78  # RFC 5322 section 2.1.1 asks for it
MAX_HANG = 24  # columns: text beside a wide label would be a pillar

_HANG = re.compile(r"\s*(?:\| *|[✗✓·•-] +)?(?:\S+(?: \S+)?  +)?")
_ONE_EACH = re.compile("[\x00-\u02ff\u2010-\u2027\u2190-\u21ff\u2580-\u259f\u2713\u2717]*")
"""ASCII, Latin, and what the templates draw with."""
_WORDS = re.compile(r"\S+\s*")


def fit(text: str, width: int = WIDTH) -> str:
    """Every line of the text within the width, except for addresses that are longer."""
    return "\n".join(part for line in text.split("\n") for part in _folded(line, width))


def columns(text: str) -> int:
    """How many columns a terminal needs: wide signs take two, combining ones none."""
    if _ONE_EACH.fullmatch(text):  # nearly every line
        return len(text)
    return sum(_columns(sign) for sign in text)


def _columns(sign: str) -> int:
    if unicodedata.combining(sign) or unicodedata.category(sign) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def _folded(line: str, width: int) -> Iterator[str]:
    if columns(line) <= width:
        yield line
        return
    hang = _hang_of(line)
    margin = columns(hang)
    now, taken = "", 0
    for word in _words(line, width - margin):
        bare = word.rstrip()
        size = columns(bare)
        # Where nothing but the margin stands before it, a new line would gain nothing.
        if taken > margin and taken + size > width:
            yield now.rstrip()
            now, taken = hang, margin
        now += word
        taken += size + columns(word[len(bare) :])
    yield now.rstrip()


def _hang_of(line: str) -> str:
    """What following lines begin with."""
    match = _HANG.match(line)
    lead = match[0] if match else ""
    if columns(lead) > MAX_HANG:
        lead = lead[: len(lead) - len(lead.lstrip())][:MAX_HANG]
    return "".join(sign if sign == "|" else " " for sign in lead)


def _words(line: str, room: int) -> Iterator[str]:
    """The line in pieces that may stand on lines of their own; their sum is the line."""
    indent = line[: len(line) - len(line.lstrip())]
    if indent:
        yield indent
    for match in _WORDS.finditer(line, len(indent)):
        word = match[0]
        if "://" in word or columns(word.rstrip()) <= room:
            yield word
            continue
        yield from _chopped(word, room)


def _chopped(word: str, room: int) -> Iterator[str]:
    piece, taken = "", 0
    for sign in word:
        size = _columns(sign)
        if taken + size > room and not sign.isspace():
            yield piece
            piece, taken = "", 0
        piece += sign
        taken += size
    yield piece
