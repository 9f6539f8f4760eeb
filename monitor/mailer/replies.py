"""SMTP's replies, read: which error each one is (RFC 5321 section 4.2, RFC 3463, RFC 4954).

A refused login is temporary although its code says 5xx: people mend passwords, and the mails of that hour
must still be there. Gmail tells its daily limit as `550 5.4.5`, Exchange Online as `550 5.1.90`.
"""

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence

from aiosmtplib import SMTPRecipientRefused, SMTPRecipientsRefused, SMTPResponseException

from monitor.mailer.contract import OverLimit, Refused, SendError, TryLater, Unavailable

SHOWN = 500  # characters of a server's words that are kept: enough for the code, the reason and a link
LOGIN_CODES = frozenset({530, 534, 535, 538})  # RFC 4954 section 6: authentication is missing or refused
LEAVING = 421  # "closing transmission channel": of the server, not of this mail
_DAILY_LIMIT = re.compile(r"^5\.(4\.5|1\.90)\b", re.MULTILINE)
_NOT_TEXT = re.compile(r"[\x00-\x20\x7f-\x9f]+")


def error_of(code: int, message: str) -> SendError:
    """The error that a reply stands for, its text the server's words."""
    words = told(code, message)
    if code in LOGIN_CODES or code == LEAVING:
        return Unavailable(words)
    if 500 <= code < 600:
        return OverLimit(words) if _DAILY_LIMIT.search(message) else Refused(words)
    return TryLater(words)


def told(code: int, message: str) -> str:
    """A reply as one line of text."""
    return plain(f"{code} {message}" if code > 0 else message)


def plain(text: str) -> str:
    """One bounded line without control signs: a server's words go to logs, pages and terminals."""
    readable = text.encode("utf-8", "replace").decode()
    return _NOT_TEXT.sub(" ", readable).strip()[:SHOWN]


def worst(errors: Sequence[SendError]) -> SendError:
    """One error for several recipients of whom none was accepted: what may still pass decides."""
    words = plain("; ".join(dict.fromkeys(str(error) for error in errors)))
    for kind in (Unavailable, OverLimit, TryLater):
        if any(isinstance(error, kind) for error in errors):
            return kind(words)
    return Refused(words)


def of_recipients(refusal: SMTPRecipientsRefused) -> SendError:
    return worst([_of_recipient(one) for one in refusal.recipients])


def _of_recipient(refusal: SMTPRecipientRefused) -> SendError:
    error = error_of(refusal.code, refusal.message)
    return type(error)(plain(f"{refusal.recipient}: {error}"))


def of_response(error: SMTPResponseException) -> SendError:
    return error_of(error.code, error.message)


def without_secrets(text: str, username: str, secrets: Iterable[str]) -> str:
    """The text without these secrets, as they are or as AUTH writes them: a server may repeat what it was
    told."""
    for secret in filter(None, secrets):
        for form in (secret, *(b64encode(form.encode()).decode() for form in _said(username, secret))):
            text = text.replace(form, "[password]")
    return text


def _said(username: str, secret: str) -> tuple[str, ...]:
    """As LOGIN, PLAIN and XOAUTH2 say it, before base64."""
    plain_ones = (f"\0{username}\0{secret}", f"{username}\0{username}\0{secret}")
    return (secret, *plain_ones, f"user={username}\1auth=Bearer {secret}\1\1")
