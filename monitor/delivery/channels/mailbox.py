"""The embedded mailbox, which keeps mails as files for the dashboard if no mail server is set.

`Mailbox` writes a mail to `tmp/` and renames it into `new/`, as a maildir does, so that a reader never sees
half a mail.
"""

import asyncio
import logging
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.headerregistry import DateHeader
from email.message import EmailMessage
from email.parser import BytesParser
from pathlib import Path

from monitor.clock import Clock
from monitor.delivery.channels.errors import SendReceipt, TryLater, plain

FILED = "filed in the embedded mailbox as "
KEPT = 5_000  # mails. The oldest are deleted first, so that an unattended monitor does not fill the disk
KEPT_BYTES = 1024**3  # of mails, because so many mails may have 10 MiB each
HEADER_BYTES = 64 * 1024  # read of a file for the list. The headers of a mail end long before
_ID = re.compile(r"\d{20}-[0-9a-f]{12}")
_SUFFIX = ".eml"
_HEADERS = BytesParser(policy=policy.default)

logger = logging.getLogger(__name__)


def parse_filed_id(answer: str) -> str | None:
    """Return the id of the mail that an attempt's answer says was filed, or None."""
    return answer.removeprefix(FILED) if answer.startswith(FILED) else None


@dataclass(frozen=True)
class Summary:
    """A line of the mailbox's list. Texts are decoded from the headers and not yet escaped."""

    id: str
    subject: str
    sender: str
    to: str
    date: datetime | None
    size: int
    """Bytes."""


class Mailbox:
    """A folder of mails, and the Mailer that files mails into it."""

    def __init__(
        self, folder: Path, clock: Clock, max_mails: int = KEPT, kept_bytes: int = KEPT_BYTES
    ) -> None:
        self._new = folder / "new"
        self._tmp = folder / "tmp"
        self._clock = clock
        self._max_mails = max_mails
        self._max_bytes = kept_bytes

    @property
    def at_once(self) -> int:
        """The number of mails that are filed at the same time."""
        return 1

    async def open(self) -> None:
        """Do nothing, because no server has to be reached."""

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> SendReceipt:
        """File a mail. Raise TryLater if the disk does not take it."""
        content = message.as_bytes(policy=policy.SMTP)
        try:
            mail_id = await asyncio.to_thread(self.file, content, recipients)
        except OSError as error:
            raise TryLater(f"the mailbox cannot be written: {error}") from None
        return SendReceipt(f"{FILED}{mail_id}", tuple(recipients))

    async def close(self) -> None:
        """Do nothing, because nothing is held open."""

    def file(self, content: bytes, recipients: Sequence[str], sender: str | None = None) -> str:
        """Write one mail, its envelope in headers above it, and return its id. Blocking. Raise OSError."""
        for folder in (self._new.parent, self._new, self._tmp):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        mail_id = f"{int(self._clock().timestamp() * 1_000_000):020d}-{secrets.token_hex(6)}"
        path = self._tmp / (mail_id + _SUFFIX)
        _write_durably(path, _envelope(sender, recipients) + content)
        path.rename(self._new / (mail_id + _SUFFIX))
        self._forget_oldest()
        return mail_id

    def mails(self, limit: int, before: str | None = None) -> list[Summary]:
        """Return the latest mails, newest first. `before` is the last id of the page before. Blocking."""
        ids = [mail_id for mail_id in reversed(self._ids()) if before is None or mail_id < before]
        found = (self._summary(mail_id) for mail_id in ids[:limit])
        return [summary for summary in found if summary]

    def summaries(self, ids: Iterable[str]) -> list[Summary]:
        """Return the mails of these ids, as far as they are kept. Blocking."""
        return [summary for mail_id in ids if self._path(mail_id) and (summary := self._summary(mail_id))]

    def get(self, mail_id: str) -> EmailMessage | None:
        """Return one mail, or None if no mail has this id. Blocking."""
        path = self._path(mail_id)
        try:
            return None if path is None else message_from_bytes(path.read_bytes(), policy=policy.default)
        except FileNotFoundError:
            return None

    def _path(self, mail_id: str) -> Path | None:
        """Return a mail's path. An id is digits and nothing else, so it can name no other file."""
        return self._new / (mail_id + _SUFFIX) if _ID.fullmatch(mail_id) else None

    def _ids(self) -> list[str]:
        """Return the ids of all mails, oldest first."""
        try:
            names = [entry.name for entry in os.scandir(self._new)]
        except FileNotFoundError:
            return []
        return sorted(stem for name in names if _ID.fullmatch(stem := name.removesuffix(_SUFFIX)))

    def _forget_oldest(self) -> None:
        size = number = 0
        for mail_id in reversed(self._ids()):
            path = self._new / (mail_id + _SUFFIX)
            with suppress(FileNotFoundError):  # another has forgotten it
                size, number = size + path.stat().st_size, number + 1
                # The newest stays whatever its size: it has just been taken.
                if number > max(self._max_mails, 1) or (size > self._max_bytes and number > 1):
                    path.unlink()
                    logger.info("mailbox: %s is forgotten, the oldest of too many", mail_id)

    def _summary(self, mail_id: str) -> Summary | None:
        path = self._new / (mail_id + _SUFFIX)
        try:
            with path.open("rb") as file:
                head, size = file.read(HEADER_BYTES), path.stat().st_size
        except FileNotFoundError:
            return None  # forgotten meanwhile
        message = _HEADERS.parsebytes(head, headersonly=True)
        subject, sender, to = (header(message, name) for name in ("Subject", "From", "To"))
        return Summary(mail_id, subject, sender, to, _date(message), size)


def header(message: EmailMessage, name: str) -> str:
    """Return a header as one line of text, whatever a sender wrote into it."""
    try:
        return plain(str(message.get(name, "")))
    except Exception:
        # Python's parser fails in many ways on headers that are no headers.
        logger.warning("mailbox: the header %s cannot be read", name, exc_info=True)
        return "(not readable)"


def _date(message: EmailMessage) -> datetime | None:
    try:
        date = message.get("Date")
        return date.datetime if isinstance(date, DateHeader) else None
    except Exception:
        logger.warning("mailbox: a Date cannot be read", exc_info=True)
        return None


def _envelope(sender: str | None, recipients: Sequence[str]) -> bytes:
    """Return the SMTP envelope as the headers that a server writes (RFC 5321 4.4)."""
    lines = [] if sender is None else [f"Return-Path: <{plain(sender)}>"]
    lines += [f"Delivered-To: {plain(recipient)}" for recipient in recipients]
    return "".join(f"{line}\r\n" for line in lines).encode()


def _write_durably(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
