"""A mail as a server gets it that takes 8 bits: what email.generator writes, in a quarter of the time."""

from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from functools import lru_cache
from typing import Any

from aiosmtplib.protocol import normalize_message_line_endings

END = b"\r\n"
AS_THEY_ARE = ("7bit", "8bit")
HEADERS = 1_000  # lines that come again: a sender's, its recipients', the rules' and those that are always so


def flat(message: EmailMessage) -> bytes | None:
    """None where it is not made of texts that go as they are, as Windsock's mostly are: then the email
    package has to write it. Each line ends with CRLF."""
    parts: Any = message.get_payload()
    boundary = message.get_boundary()
    if not isinstance(parts, list) or boundary is None or not all(map(_goes_as_it_is, parts)):
        return None
    mark = b"--" + boundary.encode()
    bodies = b"".join(mark + END + _part(part) + END for part in parts)
    return b"".join(_headers(message)) + END + bodies + mark + b"--" + END


def _goes_as_it_is(part: Any) -> bool:
    return not part.is_multipart() and part["Content-Transfer-Encoding"] in AS_THEY_ARE


def _part(part: Any) -> bytes:
    text = part.get_payload(decode=True)
    body = normalize_message_line_endings(text) if b"\r" in text else text.replace(b"\n", END)
    return b"".join(_headers(part)) + END + body


def _headers(message: EmailMessage) -> Iterator[bytes]:
    return (_folded(name, value) for name, value in message.raw_items())


@lru_cache(maxsize=HEADERS, typed=True)
def _folded(name: str, value: Any) -> bytes:
    return SMTP.fold_binary(name, value)
