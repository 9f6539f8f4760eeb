"""The two forms of a log line: text for people, one JSON object for programs.

What Airflow's users name may hold line breaks and a terminal's escape sequences. In text they are written
out, and a traceback's lines are indented, so that every line that begins at the margin is one of ours.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from monitor.logs.context import FIELDS, bound
from monitor.logs.redact import Redactor

INDENT = "    | "
_TRACE = logging.Formatter()


class JsonForm(logging.Formatter):
    """`time`, `level`, `logger`, `message`, `exception` where there is one, and what the line is about."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(record.getMessage()),
            **{name: self._value(value) for name, value in _about(record).items()},
        }
        if trace := _traceback(record):
            line["exception"] = self._redact(trace)
        return json.dumps(line)  # in ASCII: nothing that some reader takes for the end of a line

    def _value(self, value: Any) -> Any:
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, list | tuple):
            return [self._value(one) for one in value]
        return self._redact(str(value))


class TextForm(logging.Formatter):
    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        moment = _moment(record).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        about = " ".join(f"{name}={_word(value)}" for name, value in _about(record).items())
        line = f"{moment} {record.levelname} {record.name}: {record.getMessage()}"
        text = printable(self._redact(f"{line} [{about}]" if about else line))
        trace = printable(self._redact(_traceback(record)), keep="\n")
        return "\n".join([text, *(INDENT + part for part in trace.split("\n") if trace)])


def printable(text: str, keep: str = "") -> str:
    """What is no printable character is written out, as Python writes it."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else repr(one)[1:-1] for one in text)


def _word(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(' "[]=') else text


def _about(record: logging.LogRecord) -> Mapping[str, Any]:
    """What was given with the line goes before what its task is bound to."""
    known = {**bound(), **{name: value for name, value in vars(record).items() if name in FIELDS}}
    return {name: known[name] for name in FIELDS if known.get(name) is not None}


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, timezone.utc)


def _traceback(record: logging.LogRecord) -> str:
    parts = [_TRACE.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)
