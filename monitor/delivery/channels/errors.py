"""The results of sending, and the meaning of a mail server's replies.

`SendError` and its subclasses say whether to try again. The code that knows the protocol chooses the class,
and no caller decides by reading texts.

`error_of` gives the error for an SMTP reply (RFC 5321 section 4.2, RFC 3463, RFC 4954). The object of a
refusal decides, and not the code alone. A refusal of the session (the EHLO name, the host, the login) or of
the sender is the same for every mail. Such a refusal is temporary, although its code is 5xx. People mend
passwords, names and relay rights, and the mails of that hour must still be waiting. Many servers (Postfix
with smtpd_delay_reject) give such a refusal as the answer to the first recipient.

Gmail reports its daily limit as `550 5.4.5`, and Exchange Online as `550 5.1.90`.

`clean_reply` is what each text of a server or library passes before anybody sees it: without secrets and
control signs, on one line, and bounded.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from enum import Enum
from typing import Protocol
from urllib.parse import unquote

from aiosmtplib import (
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from monitor.errors import WindsockError
from monitor.plain_text import line, remove_secrets


class SendError(WindsockError):
    """An error of a mail that was not taken, or perhaps taken. Its text is the server's."""


class TryLater(SendError):
    """The temporary error: this mail, to these people, may be taken later."""

    not_before: timedelta | None = None
    """The time for which the other side asks to be left alone, if it does."""


class Unavailable(TryLater):
    """The server as a whole takes nothing: no connection, no TLS, a refused name, host or login.

    No mail would pass, so all mails wait."""


class Misconfigured(TryLater):
    """The server refuses the sender or its host, or does not relay to this recipient.

    The mail waits, because people mend that at the monitor or at the server."""


class SendRefused(SendError):
    """The permanent error: the same mail will never be taken."""


class OverLimit(SendError):
    """The account has sent all that it may for today: wait until tomorrow."""


class Uncertain(SendError):
    """The connection broke between the message and the server's answer: it may have been taken."""


@dataclass(frozen=True)
class SendReceipt:
    """The server took the mail, for some of its recipients at least."""

    answer: str
    accepted: tuple[str, ...]
    refused: Mapping[str, SendError] = field(default_factory=dict)
    """The refused recipients, each with TryLater, OverLimit or SendRefused."""


class Mailer(Protocol):
    """The sender of mails: `open`, then `send`."""

    @property
    def at_once(self) -> int:
        """The number of mails that the mailer sends at the same time."""

    async def open(self) -> None:
        """Make sure that a server answers and accepts the login, before it has the mail.
        Raises Unavailable."""

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        """Send a mail, and return once it is taken. Raise SendError."""

    async def close(self) -> None:
        """Let go of what is held open."""


READ = 10_000  # characters of a server's words that are looked at
SHOWN = 500  # characters of a server's words that are kept: enough for the code, the reason and a link
LOGIN_CODES = frozenset({530, 534, 535, 538})  # RFC 4954 section 6: authentication is missing or refused
LEAVING = 421  # "closing transmission channel": of the server, not of this mail
SESSION_CODES = frozenset({503, 504})
"""503: a command, a login as a rule, is missing before this one. 504: Postfix wants a name with a domain."""
HOST_REMEDY = "let the mail server accept this host, and check WINDSOCK_SMTP_HELO and the login"
RELAY_REMEDY = "let the mail server relay for this host, or set WINDSOCK_SMTP_USERNAME and its password"
SENDER_REMEDY = "check WINDSOCK_MAIL_FROM, and the sender's domain in DNS"
_OF_SESSION = re.compile(
    r"client host|\b(?:helo|ehlo)\b|authentication (?:is )?required|authenticat(?:e|ed|ion) (?:first|before)"
    r"|not authenticated|starttls|client was not authenticated|rdns|reverse dns|\bptr\b"
    r"|^5\.7\.(?:25|57|606|708)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Answers about the host, its name or its login. Statuses: no reverse DNS (RFC 7372), and Exchange's for
hosts and logins."""
_OF_RELAY = re.compile(
    r"\brelay(?:ing)?\b.{0,20}\b(?:denied|refused|prohibited|not|unauthori[sz]ed)\b"
    r"|\b(?:unable|not|cannot|can't|won't|don't)\b.{0,20}\brelay|credentials for relay"
    r"|^5\.7\.(?:54|64|367)\b",
    re.IGNORECASE | re.MULTILINE,
)
"""Not Postfix' `User unknown in relay recipient table`, which is about the recipient."""
_OF_SENDER = re.compile(
    r"sender address rejected|sender verify failed|^5\.(?:1\.[78]|7\.(?:2[0-46-7]|60|23))\b",
    re.IGNORECASE | re.MULTILINE,
)
"""The sender's address, or what DNS says of its domain: SPF, DKIM and DMARC (RFC 7372)."""
_REMEDIES = (
    (_OF_SESSION, HOST_REMEDY),
    (_OF_RELAY, RELAY_REMEDY),
    (_OF_SENDER, SENDER_REMEDY),
)
TOO_LARGE = 552
_OF_CONTENT = re.compile(r"^5\.(?:3\.4|2\.3|6\.\d+)\b", re.MULTILINE)
"""The size, and what SMTPUTF8 or 8BITMIME would carry, which MAIL announces: of one mail."""
_DAILY_LIMIT = re.compile(r"^5\.(4\.5|1\.90)\b", re.MULTILINE)
_SPACES = re.compile(r"\s+")


class SmtpStage(Enum):
    """The command that a reply answers. Before MAIL, a refusal concerns the session (SmtpMailer)."""

    SENDER = "sender"
    """MAIL: the sender is the same for every mail."""
    RECIPIENT = "recipient"
    MESSAGE = "message"


def error_of(code: int, message: str, stage: SmtpStage) -> SendError:
    """Return the error that a reply stands for, its text the server's words and the remedy."""
    text = format_reply(code, message)
    if code in LOGIN_CODES or code == LEAVING:
        return Unavailable(text)
    if not 500 <= code < 600:
        return TryLater(text)
    if _DAILY_LIMIT.search(message):
        return OverLimit(text)
    is_size = code == TOO_LARGE or _OF_CONTENT.search(message)
    if stage is SmtpStage.MESSAGE:
        remedy = _remedy(message)
        return Misconfigured(f"{text} ({remedy})") if remedy and not is_size else SendRefused(text)
    if code in SESSION_CODES or _OF_SESSION.search(message):
        return Unavailable(f"{text} ({HOST_REMEDY})")
    if stage is SmtpStage.SENDER:
        return SendRefused(text) if is_size else Unavailable(f"{text} ({_remedy(message) or SENDER_REMEDY})")
    remedy = _remedy(message)
    return Misconfigured(f"{text} ({remedy})") if remedy else SendRefused(text)


def _remedy(message: str) -> str | None:
    """Return the remedy for a refused host, relay or sender, or None if the mail itself is refused."""
    for pattern, remedy in _REMEDIES:
        if pattern.search(message):
            return remedy
    return None


def format_reply(code: int, message: str) -> str:
    """Return a reply as one line of text."""
    return plain(f"{code} {message}" if code > 0 else message)


def plain(text: str) -> str:
    """Return a bounded line without control signs: a server's words go to logs, pages and terminals."""
    return _SPACES.sub(" ", line(text[:READ])).strip()[:SHOWN]


def worst(errors: Sequence[SendError]) -> SendError:
    """Return the error of several recipients, none of them accepted. What may still pass decides."""
    text = plain("; ".join(dict.fromkeys(str(error) for error in errors)))
    for kind in (Unavailable, OverLimit, Misconfigured, TryLater):
        if any(isinstance(error, kind) for error in errors):
            return kind(text)
    return SendRefused(text)


def error_of_recipients(refusal: SMTPRecipientsRefused) -> SendError:
    """Return the error of several recipients who were refused."""
    return worst([_error_of_recipient(refused) for refused in refusal.recipients])


def _error_of_recipient(refusal: SMTPRecipientRefused) -> SendError:
    error = error_of(refusal.code, refusal.message, SmtpStage.RECIPIENT)
    return type(error)(plain(f"{refusal.recipient}: {error}"))


def error_of_response(error: SMTPResponseException) -> SendError:
    """Return the error of a server's reply."""
    return error_of(error.code, error.message, _stage_of(error))


def _stage_of(error: SMTPResponseException) -> SmtpStage:
    if isinstance(error, SMTPSenderRefused):
        return SmtpStage.SENDER
    return SmtpStage.RECIPIENT if isinstance(error, SMTPRecipientRefused) else SmtpStage.MESSAGE


def describe_error(error: Exception) -> str:
    """Return an error as one line of text."""
    if isinstance(error, SMTPResponseException):
        return format_reply(error.code, error.message)
    return plain(str(error) or type(error).__name__)


def doubt(why: str) -> str:
    """Return the reason of an uncertain delivery."""
    return f"the connection ended before the server answered the message: {why}"


def meaning(error: Exception, in_doubt: bool) -> SendError:
    """Return the meaning of an error. `in_doubt` says that the server may have the message."""
    if in_doubt:
        return Uncertain(doubt(describe_error(error)))
    if isinstance(error, SMTPRecipientsRefused):
        return error_of_recipients(error)
    if isinstance(error, SMTPResponseException):
        return error_of_response(error)
    if isinstance(error, SMTPNotSupported):
        return SendRefused(f"this server takes no addresses outside ASCII: {plain(str(error))}")
    if isinstance(error, ValueError):
        return SendRefused(f"not a mail that this server can be given: {plain(str(error))}")
    return TryLater(describe_error(error))


SHORTEST = 4  # characters of a part that may be a secret: shorter ones are words of every text
NOISY = ("apprise", "urllib3", "httpx", "httpcore", "requests")
"""Loggers whose lines hold addresses and payloads."""
_PARTS = re.compile(r"[/?&=@:#,;+\s]+")


def clean_reply(text: str, secrets: Iterable[str] = (), urls: Iterable[str] = ()) -> str:
    """Return the text as one bounded line, without the secrets, the URLs and the URLs' parts.

    Secrets are removed before the text is cut, and once more when control signs are gone from within them.
    """
    hidden = (*secrets, *(part for url in urls for part in _url_parts(url)))
    return plain(remove_secrets(line(remove_secrets(text[:READ], hidden)), hidden))


def _url_parts(url: str) -> Iterator[str]:
    """Yield the URL, and each part of it behind its scheme."""
    behind = url.partition("://")[2]
    yield from (url, behind)
    for part in _PARTS.split(behind):
        yield from (form for form in (part, unquote(part)) if len(form) >= SHORTEST)


def keep_quiet() -> None:
    """Let libraries say nothing below a warning: httpx logs each address that it asks."""
    for name in NOISY:
        library = logging.getLogger(name)
        library.setLevel(max(logging.WARNING, library.level))
