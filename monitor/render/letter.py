"""What is fixed about a mail before it is written, and the message that it becomes."""

from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from monitor.render.headers import MAX_LINE, POLICY, list_id
from monitor.render.words import header

HEADER_LENGTH = 250
REPLY = "Re: "


@dataclass(frozen=True)
class Letter:
    message_id: str
    recipient: str
    rule: str
    timezone: str = "UTC"
    references: tuple[str, ...] = ()
    """Message-IDs of the conversation before it, the first one first."""
    subject: str | None = None
    """The conversation's: where there is one, this mail's is `Re: ` and it, for Gmail joins what has both the
    references and the subject."""
    silence_url: str | None = None
    acknowledge_url: str | None = None
    unsubscribe_url: str | None = None


@dataclass(frozen=True)
class Written:
    """A mail's three texts."""

    subject: str
    text: str
    html: str


def message_of(written: Written, letter: Letter, sender: str, event_id: str, now: datetime) -> EmailMessage:
    """Raises ValueError for an address that is none."""
    message = EmailMessage(policy=POLICY)
    name, address = parseaddr(sender)
    message["Subject"] = written.subject
    message["From"] = f"{name or 'Windsock'} <{address or sender}>"
    message["To"] = letter.recipient
    message["Date"] = format_datetime(now)
    message["Message-ID"] = letter.message_id
    if letter.references:
        message["In-Reply-To"] = letter.references[-1]
        message["References"] = " ".join(letter.references)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, no loops
    message["X-Auto-Response-Suppress"] = "All"  # the same, for Exchange
    message["List-Id"] = list_id(letter.rule, address.rpartition("@")[2] or "localhost")
    if letter.unsubscribe_url:
        message["List-Unsubscribe"] = f"<{letter.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
    message["X-Windsock-Event"] = header(event_id, HEADER_LENGTH)
    message.set_content(written.text, cte=_encoding(written.text))
    message.add_alternative(written.html, subtype="html", cte=_encoding(written.html))
    return message


def _encoding(text: str) -> str | None:
    """As it is, where its lines are no longer than mail may have them: smaller than quoted-printable, and
    done in a third of the time. The mailer encodes it for a server that takes 7 bits only."""
    if any(len(line.encode()) > MAX_LINE for line in text.splitlines()):
        return None
    return "7bit" if text.isascii() else "8bit"
