"""The end of a task's log as text.

Airflow gives one JSON object a line, and the traceback of an error is data in that object. `LogTail` takes a
log in pieces and keeps only its end.
"""

from collections import deque
from typing import Any

from monitor.bounded_json import loads
from monitor.plain_text import lines

MAX_READ = 64 * 1024 * 1024  # bytes of one log that are read to find its end
MAX_RECORD = 256 * 1024  # bytes of one record that are kept: a traceback of a hundred frames is 20 KB
MAX_TEXT = 20_000  # characters of a record, the last ones, that are cleaned to be shown: that takes time
MAX_LINE = 2_000  # characters of a line that is shown
MAX_VALUES = 10_000  # in one record: a traceback of a hundred frames has 500. More is shown as it is
SPARE = 20  # records beyond those wanted, for those that are not shown
HIDDEN = ("::group::", "::endgroup::")  # folding marks of Airflow's own log page


class LogTail:
    """The end of a log that is taken in pieces, as they come."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._records: deque[bytes] = deque(maxlen=lines + SPARE)
        self._unfinished = b""
        self._read = 0

    @property
    def full(self) -> bool:
        """True if enough was read. What follows is not looked at."""
        return self._read > MAX_READ

    def take(self, piece: bytes) -> None:
        """Take in a piece of the log."""
        self._read += len(piece)
        *whole, rest = (self._unfinished + piece).split(b"\n")
        self._records.extend(line[:MAX_RECORD] for line in whole)
        self._unfinished = rest[:MAX_RECORD]

    def text(self) -> list[str]:
        """Return the last lines, the oldest first."""
        records = (*self._records, self._unfinished)
        texts = [text for record in records for text in _lines(record.decode(errors="replace"))]
        if self.full:
            texts.append(f"[the log is longer than {MAX_READ // 1024**2} MiB; its end was not read]")
        return [line[:MAX_LINE] for line in texts[-self._lines :]]


def _lines(line: str) -> list[str]:
    try:
        record = loads(line, MAX_VALUES)
    except ValueError:
        return lines(line[-MAX_TEXT:]) if line.strip() else []  # a log handler that writes plain text
    if not isinstance(record, dict):
        return lines(line[-MAX_TEXT:])
    event = str(record.get("event", ""))[-MAX_TEXT:]
    if event.startswith(HIDDEN):
        return []
    when = str(record.get("timestamp") or "")[:19].replace("T", " ")
    level = str(record.get("level") or "").upper()
    first, *more = lines(event) or [""]
    return [" ".join(part for part in (when, level, first) if part), *more, *_traceback(record)]


def _traceback(record: dict[str, Any]) -> list[str]:
    """Return the chain of errors as Python prints it: the cause first."""
    chain = record.get("error_detail")
    if not isinstance(chain, list):
        return []
    texts: list[str] = []
    for error in reversed([error for error in chain if isinstance(error, dict)]):
        if texts:
            texts.append("The error above led to:")
        frames = [frame for frame in error.get("frames") or () if isinstance(frame, dict)]
        texts += [f'  File "{f.get("filename")}", line {f.get("lineno")}, in {f.get("name")}' for f in frames]
        texts += lines(f"{error.get('exc_type')}: {error.get('exc_value')}"[-MAX_TEXT:])
    return texts
