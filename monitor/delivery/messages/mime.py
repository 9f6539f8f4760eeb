"""The MIME message of a mail and its headers.

`message_of` builds the message of an `Envelope` and a `MessageText`, with Python's email package.

`FoldedHeader` is the only part that the email package does not write, because its folding (email.policy) has
faults. A long token without spaces is encoded (RFC 2047): a Message-ID in References, or an address in
List-Unsubscribe, becomes text that no program recognizes. A long text in other letters gets encoded words of
more than 75 characters, which strict servers refuse or garble, and spaces that it did not have."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import Policy
from email.utils import format_datetime
from textwrap import wrap

from monitor.delivery.messages.filters import header
from monitor.events.identity import digest
from monitor.mail_addresses import SenderAddress, ascii_address

MAX_LINE = 998  # octets: RFC 5322 section 2.1.1
MAX_WORD = 900  # characters. One line holds such a word beside any header's name
GLUE = "\0"  # stands in no header
WIDTH = 76  # RFC 2047 section 2: of a line that holds an encoded word
SLUG_LENGTH = 40
_NO_SLUG = re.compile(r"[^a-z0-9]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class FoldedHeader(str):
    """The value of a header that folds itself: email.policy leaves that to a value with a name.

    Words of ASCII stay whole, unless no line may be as long.
    """

    name: str

    def __new__(cls, name: str, value: str) -> "FoldedHeader":
        """Raise ValueError for a control character: a line break would begin another header."""
        if _CONTROLS.search(value):
            raise ValueError(f"{name} holds a control character: {value!r}")
        folded = super().__new__(cls, value)
        folded.name = name
        return folded

    def fold(self, *, policy: Policy) -> str:
        """Fold the header, without the email package's faults."""
        if not self.isascii() or any(len(word) > MAX_WORD for word in self.split(" ")):
            encoded = Header(str(self), "utf-8", WIDTH, header_name=self.name).encode(linesep=policy.linesep)
            return f"{self.name}: {encoded}{policy.linesep}"
        # The first word stays beside the name, because programs take an empty first line for an empty header.
        lines = wrap(
            f"{self.name}:{GLUE}{self}",
            WIDTH,
            subsequent_indent=" ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        return policy.linesep.join(lines).replace(GLUE, " ") + policy.linesep


def list_id(rule: str, host: str) -> str:
    """Return the name by which mailboxes sort a rule's mails (RFC 2919)."""
    slug = _NO_SLUG.sub("-", rule.lower()).strip("-")[:SLUG_LENGTH].strip("-")
    if slug != rule:
        slug = "-".join(part for part in (slug, digest(rule)[:8]) if part)
    return f"<{slug}.windsock.{host}>"


HEADER_LENGTH = 250
MAX_CHARACTERS = MAX_LINE // 4  # fit in a line, whatever they are: UTF-8 takes 4 bytes at most


@dataclass(frozen=True)
class Envelope:
    """The envelope of a message: its recipient, its thread and its links."""

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
    """The label of that link."""
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
    """Return the message. Raise ValueError for an address that is none."""
    message = EmailMessage()
    author = sender.header(state)
    # An address in other letters is for email.policy to write: as UTF-8, for a server with SMTPUTF8.
    message["From"] = FoldedHeader("From", author) if author.isascii() else author
    message["To"] = ascii_address(envelope.recipient)
    for header_name, value in _headers(text, envelope, sender.domain, event_id, now):
        message[header_name] = FoldedHeader(header_name, value)
    message.set_content(text.text, cte=_encoding_of(text.text))
    message.add_alternative(text.html, subtype="html", cte=_encoding_of(text.html))
    return message


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


def _encoding_of(text: str) -> str | None:
    """Return the transfer encoding of a text that may go as it is, or None to let email.policy choose.

    email.policy would encode each text with a line of more than 78 characters, as every HTML page has one.
    """
    if any(len(line) > MAX_CHARACTERS and len(line.encode()) > MAX_LINE for line in text.split("\n")):
        return None
    return "7bit" if text.isascii() else "8bit"
