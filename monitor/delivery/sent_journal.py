"""The journal of sent messages, on disk next to the database.

`SentJournal` writes one line before a message is handed to a receiver, and one line after. The first line is
on the disk before the receiver gets the message. The second line follows when there is time. Without the
second line, the message is uncertain after a restore and is not sent again.

The journal lies in the home folder, next to the database and not in it. If a backup of the database is
restored, the journal still knows the messages that were sent since
(monitor/notifications/outbox/already_sent.py)."""

import asyncio
import json
import logging
import os
import secrets
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from monitor.clock import Clock


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Raise OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


What = Literal["handed", "sent", "not taken"]
HANDED: What = "handed"
SENT: What = "sent"
NOT_TAKEN: What = "not taken"
SUFFIX = ".jsonl"
OWNERS_ALONE = 0o600

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class JournalEntry:
    """A line of the journal."""

    at: datetime
    what: What
    message_id: str
    keys: tuple[str, ...] = ()
    """The keys of what the mail reports. They and the subject stand in the first line alone."""
    subject: str | None = None

    def to_json_line(self) -> bytes:
        """Return the entry as a line of JSON."""
        record: dict[str, Any] = {"at": self.at.isoformat(), "what": self.what, "message_id": self.message_id}
        if self.what == HANDED:
            record |= {"subject": self.subject, "keys": self.keys}
        return (json.dumps(record, separators=(",", ":")) + "\n").encode()

    @classmethod
    def read(cls, text: str) -> "JournalEntry":
        """Return the entry of a line. Raise ValueError, KeyError or TypeError for anything else."""
        record = json.loads(text)
        keys, subject = tuple(record.get("keys", ())), record.get("subject")
        return cls(datetime.fromisoformat(record["at"]), record["what"], record["message_id"], keys, subject)


class SentJournal:
    """The journal of one process, a file a day. Files older than `keep_for` are deleted.

    A thread of its own writes the lines, in the order in which they were appended.
    """

    def __init__(self, folder: Path, clock: Clock, keep_for: timedelta) -> None:
        self._folder = folder
        self._clock = clock
        self._keep_for = keep_for
        self._process = secrets.token_hex(4)  # two monitors in one home write two files
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sent-journal")
        self._day = ""

    async def append(self, entry: JournalEntry) -> None:
        """Write an entry, and return once it is on the disk. Raise OSError."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, entry, True)

    def append_nowait(self, entry: JournalEntry) -> None:
        """Write an entry soon. The caller does not wait until the entry is on the disk."""
        self._thread.submit(self._write, entry, False)

    async def flush(self) -> None:
        """Return when the entries that were appended by now are written."""
        await asyncio.get_running_loop().run_in_executor(self._thread, int)

    def _write(self, entry: JournalEntry, is_durable: bool) -> None:
        try:
            descriptor = os.open(self._file(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, OWNERS_ALONE)
            try:
                os.write(descriptor, entry.to_json_line())
                if is_durable:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            logger.error("%s cannot be written: %s", self._folder, error)  # noqa: TRY400 (each mail says it)
            raise

    def _file(self) -> Path:
        day = f"{self._clock():%Y-%m-%d}"
        file = self._folder / f"{day}.{self._process}{SUFFIX}"
        if day != self._day:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._delete_old()
            file.touch(OWNERS_ALONE)
            sync(self._folder)
            self._day = day
        return file

    def _delete_old(self) -> None:
        oldest = f"{self._clock() - self._keep_for:%Y-%m-%d}"
        for file in self._folder.glob(f"*{SUFFIX}"):
            if file.name < oldest:
                file.unlink(missing_ok=True)


@dataclass(frozen=True)
class SentRecord:
    """The fate of one mail, as far as its journal knows."""

    handed: JournalEntry
    is_sent: bool


def read(folders: Sequence[Path], since: datetime | None = None) -> list[SentRecord]:
    """Return the mails that were sent, or may have been, by the journals in these folders.

    A mail that was not taken is left out. So is a line that a crash cut off, because its mail was not handed
    over yet.
    """
    found: dict[str, list[JournalEntry]] = defaultdict(list)
    for line in sorted(_read_entries(folders, since), key=lambda line: line.at):
        found[line.message_id].append(line)
    return [record for lines in found.values() if (record := _build_record(lines))]


def _build_record(lines: Sequence[JournalEntry]) -> SentRecord | None:
    """Return the record of one mail by all its lines, in their order.

    Several attempts may have handed it over at the same time, after a lease ran out. That one of them did not
    does not say that none did.
    """
    handed, open_ends = None, 0
    for line in lines:
        if line.what == HANDED:
            handed, open_ends = line, open_ends + 1
        elif line.what == NOT_TAKEN:
            open_ends = max(0, open_ends - 1)
    is_sent = any(line.what == SENT for line in lines)
    return SentRecord(handed, is_sent) if handed and (is_sent or open_ends) else None


def _read_entries(folders: Sequence[Path], since: datetime | None) -> Iterator[JournalEntry]:
    for file in sorted(file for folder in folders for file in folder.glob(f"*{SUFFIX}")):
        if since is not None and file.name < f"{since:%Y-%m-%d}":
            continue
        for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            try:
                line = JournalEntry.read(text)
            except (ValueError, KeyError, TypeError):
                logger.warning(
                    "%s, line %d: is cut off or no line of a journal; it is passed over", file, number
                )
                continue
            if since is None or line.at >= since:
                yield line
