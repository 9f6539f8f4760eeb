"""The MIME message of a mail and its headers.

`message_of` builds the message of an `Envelope` and a `MessageText`.

`AsciiHeader` keeps a header whose words are ASCII as given, and folds the header between words only. Python's
email package folds a long word by encoding it (RFC 2047). A Message-ID in References, or an address in
List-Unsubscribe, then becomes text that no program recognizes. The email package also reads each header's
grammar twice, when the header is set and when it is written. That took a third of a mail's time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.policy import EmailPolicy, Policy
from email.utils import format_datetime
from functools import lru_cache
from itertools import count
from typing import Any

from monitor.delivery.messages.filters import header
from monitor.events.identity import digest
from monitor.mail_addresses import SenderAddress, ascii_address

MAX_LINE = 998  # octets: RFC 5322 section 2.1.1
SLUG_LENGTH = 40
ADDRESSES = 1_000  # headers that are kept as they were read: one sender's, and the recipients'
_NO_SLUG = re.compile(r"[^a-z0-9]+")


class _Once(EmailPolicy):
    """Whoever writes the message sets each header once: to count them, Python makes a class each time."""

    def header_max_count(self, name: str) -> int | None:
        return None


POLICY = _Once()


class AsciiHeader(str):
    """A header's value, printable ASCII, whose words stay whole. It folds itself: email.policy leaves that to
    what has a name."""

    name: str

    def fold(self, *, policy: Policy) -> str:
        """RFC 5322 section 2.2.3."""
        width = policy.max_line_length or MAX_LINE
        lines = [f"{self.name}: {self}"]
        if len(lines[0]) > width:
            lines = [f"{self.name}:"]
            for word in self.split():
                if len(lines[-1]) + 1 + len(word) <= width or lines == [f"{self.name}:"]:
                    lines[-1] += f" {word}"
                else:
                    lines.append(f" {word}")
        return policy.linesep.join(lines) + policy.linesep


def build_header(name: str, value: str) -> str:
    """A header's value, as it is where it is ASCII; else for email.policy to encode, or to refuse."""
    if not (value.isascii() and value.isprintable()):
        return value
    header = AsciiHeader(value)
    header.name = name
    return header


@lru_cache(maxsize=ADDRESSES)
def addresses(name: str, value: str) -> Any:
    """A header of addresses, read by the rules of RFC 5322. Raises ValueError for several lines."""
    return POLICY.header_store_parse(name, value)[1]


def list_id(rule: str, host: str) -> str:
    """What mailboxes sort a rule's mails by (RFC 2919)."""
    slug = _NO_SLUG.sub("-", rule.lower()).strip("-")[:SLUG_LENGTH].strip("-")
    if slug != rule:
        slug = "-".join(part for part in (slug, digest(rule)[:8]) if part)
    return f"<{slug}.windsock.{host}>"


HEADER_LENGTH = 250
BOUNDARY = "==windsock-"
END = "\n"
MAX_CHARACTERS = (
    MAX_LINE // 4
)  # of a line that is within MAX_LINE, whatever they are: UTF-8 takes 4 bytes at most


@dataclass(frozen=True)
class Envelope:
    message_id: str
    recipient: str
    rule: str
    timezone: str = "UTC"
    references: tuple[str, ...] = ()
    """Message-IDs of the conversation before it, the first one first."""
    subject: str | None = None
    """The conversation's: where there is one, this mail's is the same, for Gmail joins what has both the
    references and the subject."""
    silence_url: str | None = None
    silence_label: str = "Silence"
    """What that link silences, in words."""
    acknowledge_url: str | None = None
    unsubscribe_url: str | None = None


@dataclass(frozen=True)
class MessageText:
    """A mail's three texts."""

    subject: str
    text: str
    html: str


def message_of(
    text: MessageText,
    envelope: Envelope,
    sender: SenderAddress,
    event_id: str,
    now: datetime,
    state: str = "",
) -> EmailMessage:
    """Raises ValueError for an address that is none."""
    message = EmailMessage(policy=POLICY)
    message["From"] = build_header("From", sender.header(state))
    message["To"] = addresses("To", ascii_address(envelope.recipient))
    for header_name, value in _headers(text, envelope, sender.domain, event_id, now):
        message[header_name] = build_header(header_name, value)
    kind = f'multipart/alternative; boundary="{_boundary(text)}"'
    message["Content-Type"] = build_header("Content-Type", kind)
    message.set_payload([_part(text.text, "plain"), _part(text.html, "html")])
    return message


def _boundary(text: MessageText) -> str:
    """What neither text holds."""
    tried = (f"{BOUNDARY}{number}" for number in count())
    return next(candidate for candidate in tried if candidate not in text.text and candidate not in text.html)


def _headers(
    text: MessageText, envelope: Envelope, host: str, event_id: str, now: datetime
) -> Iterator[tuple[str, str]]:
    yield "Subject", text.subject
    yield "Date", format_datetime(now)
    yield "Message-ID", envelope.message_id
    if envelope.references:
        yield "In-Reply-To", envelope.references[-1]
        yield "References", " ".join(envelope.references)
    yield "Auto-Submitted", "auto-generated"  # RFC 3834: no out-of-office answers, no loops
    yield "X-Auto-Response-Suppress", "All"  # the same, for Exchange
    yield "List-Id", list_id(envelope.rule, host)
    if envelope.unsubscribe_url:
        yield "List-Unsubscribe", f"<{envelope.unsubscribe_url}>"
        yield "List-Unsubscribe-Post", "List-Unsubscribe=One-Click"  # RFC 8058
    yield "X-Windsock-Event", header(event_id, HEADER_LENGTH)
    yield "MIME-Version", "1.0"


def _part(text: str, subtype: str) -> EmailMessage:
    """As it is, where its lines are no longer than mail may have them: smaller than quoted-printable, and
    done in a fraction of the time. The mailer encodes it for a server that takes 7 bits only."""
    part = EmailMessage(policy=POLICY)
    if _has_long_lines(text):
        part.set_content(text, subtype=subtype)
        del part["MIME-Version"]
        return part
    encoding = "7bit" if text.isascii() else "8bit"
    part["Content-Type"] = build_header("Content-Type", f'text/{subtype}; charset="utf-8"')
    part["Content-Transfer-Encoding"] = build_header("Content-Transfer-Encoding", encoding)
    # So the email package holds bytes that are no ASCII.
    ended = text if text.endswith(END) else text + END
    part.set_payload(ended.encode().decode("ascii", "surrogateescape"))
    return part


def _has_long_lines(text: str) -> bool:
    return any(len(line) > MAX_CHARACTERS and len(line.encode()) > MAX_LINE for line in text.split(END))
