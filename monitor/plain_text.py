"""The cleaning of untrusted text for pages, mails, chats and terminals.

This module is the only place that cleans text. Names from Airflow's users and output of their tasks may hold
three hazards. Control sequences of terminals (ECMA-48) set colors, links and titles. Progress bars overwrite
their own line. Some characters break or reorder lines.

`cut` and `cut_start` bound a text and mark that something is left out.

`remove_secrets` removes secrets from the words of programs that received them.

`strip_sequences` removes control sequences whole. Each step takes time in proportion to the length of the
text, whatever the text holds."""

import html
import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

_SEQUENCE = re.compile(
    r"""
    # OSC: links, titles
      (?:\x1b\]|\x9d) [^\x07\x0a\x1b\x90\x98\x9c-\x9f]* (?:\x07|\x1b\\|\x9c)
    # DCS, SOS, PM, APC
    | (?:\x1b[PX^_]|[\x90\x98\x9e\x9f]) [^\x0a\x1b\x90\x98\x9c-\x9f]* (?:\x1b\\|\x9c)
    # CSI: colors, cursor, erasing
    | (?:\x1b\[|\x9b) [0-?]* [ -/]* [@-~]?
    # the rest, and what was cut off
    | \x1b [#%()*+./-]? [0-~]?
    """,
    re.VERBOSE,
)
"""No string runs over another's beginning, so no sign is looked at for more than one of them."""
_ENDS = re.compile(r"\r?\n|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
"""The ends of lines that str.splitlines knows, but for a lone CR: that goes back to the line's beginning."""
_CLEAR = re.compile(r"[\x08\x0d\x1b\x80-\x9f]")
# Controls (CR and LF would begin a header), the signs that reorder text, and Unicode's own ends of lines.
_UNSHOWN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]+")
TAB = "    "
ELLIPSIS = "…"
HIDDEN = "[…]"
SHORTEST_SECRET = 4  # characters of a secret that is looked for in other forms, or in part
SECRETS = 200  # whose forms are kept: a monitor has some tens of them
_HEX = re.compile(r"%[0-9A-F]{2}")


def no_nul(value: str) -> str:
    """Return the text. Raises ValueError if it holds a NUL."""
    if "\0" in value:
        raise ValueError("holds a NUL character, which no name does (and PostgreSQL refuses)")
    return value


def line(text: str) -> str:
    """Return the text as one line without control signs.

    Leading spaces stay: they are a traceback's shape.
    """
    if text.isascii() and text.isprintable():  # nearly every text
        return text
    readable = text.encode("utf-8", "replace").decode()
    return _UNSHOWN.sub(" ", strip_sequences(readable).replace("\t", TAB))


def lines(text: str) -> list[str]:
    """Return the lines that a terminal would show, each safe to show anywhere.

    Of what was written over itself after a carriage return, the last is left.
    """
    if text.isascii() and text.isprintable():
        return [text] if text else []
    parts = _ENDS.split(strip_sequences(text))
    if parts and not parts[-1]:
        parts.pop()
    return [line(_last_written(part)) for part in parts]


def sanitize_for_terminal(text: str) -> str:
    """Return the text for a terminal: its lines stay lines, and nothing in it commands the terminal."""
    return "\n".join(line(part) for part in text.split("\n"))


def cut(text: str, most: int) -> str:
    """Return the text, or its beginning and an ellipsis if it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}{ELLIPSIS}"


def cut_start(text: str, most: int) -> str:
    """Return the text, or an ellipsis and its end if it is longer: the end of a traceback names the error."""
    return text if len(text) <= most else f"{ELLIPSIS}{text[1 - most :]}"


def remove_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return the text without these secrets, as they are and as programs quote them.

    A program that received a secret may repeat it: in a URL or a form, in JSON, in HTML, or inside base64.
    The beginning of a secret at the end of the text is removed too, because the rest may have been cut off.
    """
    forms = {form for secret in secrets for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    for form in forms:
        text = _remove_beginning(text, form)
    return text


def _remove_beginning(text: str, form: str) -> str:
    begins = form[:SHORTEST_SECRET]
    at = text.find(begins, max(0, len(text) - len(form))) if len(begins) == SHORTEST_SECRET else -1
    while at >= 0:
        if form.startswith(text[at:]):
            return text[:at] + HIDDEN
        at = text.find(begins, at + 1)
    return text


@lru_cache(maxsize=SECRETS)
def _forms(secret: str) -> frozenset[str]:
    if len(secret) < SHORTEST_SECRET:
        return frozenset((secret,) if secret else ())
    base64 = {form for form in _base64_forms(secret) if len(form) >= SHORTEST_SECRET}
    found = {secret, *base64}
    for text in (secret, *base64):
        quoted = {quote(text, safe="/"), quote(text, safe=""), quote_plus(text)}
        found |= quoted | {_HEX.sub(lambda sign: sign[0].lower(), form) for form in quoted}
        escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1]}
        found |= escaped | {form.replace("/", "\\/") for form in escaped} | {html.escape(text)}
    return frozenset(found)


def _base64_forms(secret: str) -> Iterator[str]:
    """Yield the secret in base64, as it is alone and in the middle of another text.

    What stands before it shifts it by 0 to 2 bytes. Signs that it shares with its neighbors are left out.
    """
    raw = secret.encode("utf-8", "replace")
    yield b64encode(raw).decode()
    for shift, shared in enumerate((0, 2, 3)):
        form = b64encode(b"\0" * shift + raw).decode().rstrip("=")
        form = form[shared : -1 if (shift + len(raw)) % 3 else None]
        yield form
        yield form.replace("+", "-").replace("/", "_")


def strip_sequences(text: str) -> str:
    """Return the text without a terminal's control sequences."""
    return _SEQUENCE.sub("", text) if _CLEAR.search(text) else text


def _last_written(text: str) -> str:
    """Return what is left of a line after its carriage returns and backspaces."""
    if "\r" in text:
        text = next((part for part in reversed(text.split("\r")) if part.strip()), "")
    if "\b" not in text:
        return text
    written_lines: list[str] = []
    for sign in text:
        if sign != "\b":
            written_lines.append(sign)
        elif written_lines:
            written_lines.pop()
    return "".join(written_lines)
