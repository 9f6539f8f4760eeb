"""The monitor's log lines: their context, their formats and their redaction.

`bind` and `bound` attach the context of a line: a request, a delivery or a run. The context stands in every
line of the task, whichever module writes it. So related lines can be found together.

`Redactor` removes secrets from log lines, also those of libraries, because a library's exception may quote
an address. Lines are written on the event loop's thread, and anybody may choose their content, such as a
requested address. So the text is bounded, and every regular expression takes time in proportion to the text.

`TextForm` writes a line for people, and `JsonForm` writes one JSON object for programs. Airflow's users may
name things with line breaks and with escape sequences of a terminal. `TextForm` writes such characters out
and indents a traceback. So every line that begins at the margin is one of the monitor's.
"""

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from monitor.settings import Settings

FIELDS = (
    *("request_id", "trace_id", "deployment", "dag_id", "run_id"),
    *("event_id", "event_ids", "delivery_id", "method", "path", "status", "seconds", "client"),
)
"""The fields that a line may carry beside its message, bound here or given as `extra`, in the order of the
text form."""

_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))


def bind(**fields: Any) -> None:
    """Add fields to the lines of this task, and of tasks and threads that it starts from now on.
    A field that is None is unknown and left out."""
    _about.set({**_about.get(), **{name: value for name, value in fields.items() if value is not None}})


def bound() -> Mapping[str, Any]:
    """Return the fields of this task's lines."""
    return _about.get()


def request_id() -> str | None:
    """Return the id of the request that is being answered."""
    found = _about.get().get("request_id")
    return found if isinstance(found, str) else None


HIDDEN = "…"
LEAST_SECRET = 6  # characters. A shorter text is no secret, and may be a word of any line
HEAD, TAIL = 12_000, 4_000  # characters of a long text that are written: a traceback's last lines say most
_ADDRESS = re.compile(r"://[^\s#'\"<>]*")
"""An address from its scheme's end on. The expression consumes what it has matched, so that no part is
matched twice. With a scheme in the expression, each letter of the scheme would begin a try."""
_LOGIN = re.compile(r"://[^\s/@'\"<>]+@")
_CUT_LOGIN = re.compile(r"://[^\s/@'\"<>]+\Z")
_LINK = re.compile(r"(/links/[a-z-]+/)[^\s/?#'\"<>]+")
"""The signed links in mails: who has one may act."""


class Redactor:
    """The redactor of log lines. `secrets` are the values of the settings that must not be read."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        texts = sorted({text for text in secrets if len(text) >= LEAST_SECRET}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, texts))) if texts else None
        self._longest = len(texts[0]) if texts else 0

    def __call__(self, text: str) -> str:
        """Return the text without secrets, and without the middle of a long one."""
        if len(text) <= HEAD + TAIL:
            return self._redact(text)
        # Of a secret that the cut goes through, a part shorter than itself is left at the cut: it goes too.
        part = max(self._longest - 1, 0)
        head = _CUT_LOGIN.sub(f"://{HIDDEN}", self._redact(text[:HEAD]))
        tail = self._redact("".join(text[-TAIL:].split(None, 1)[1:]))  # from a word's beginning
        left_out = f" {HIDDEN} [{len(text) - HEAD - TAIL} characters left out] {HIDDEN} "
        return head[: len(head) - part] + left_out + tail[part:]

    def _redact(self, text: str) -> str:
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        if "/" not in text:
            return text
        text = _ADDRESS.sub(_strip_query, text)
        return _LINK.sub(rf"\1{HIDDEN}", _LOGIN.sub(f"://{HIDDEN}@", text))


def _strip_query(found: "re.Match[str]") -> str:
    address, mark, _query = found[0].partition("?")
    return f"{address}?{HIDDEN}" if mark else address


INDENT = "    | "
_TRACE = logging.Formatter()


class JsonForm(logging.Formatter):
    """The JSON form of log lines.
    Its fields are `time`, `level`, `logger`, `message`, `exception`, and what the line is about."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line of JSON."""
        line = {
            "time": _moment(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._redact(record.getMessage()),
            **{name: self._value(value) for name, value in _fields_of(record).items()},
        }
        if trace := _traceback(record):
            line["exception"] = self._redact(trace)
        return json.dumps(line)  # in ASCII: nothing that some reader takes for the end of a line

    def _value(self, value: Any) -> Any:
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, list | tuple):
            return [self._value(item) for item in value]
        return self._redact(str(value))


class TextForm(logging.Formatter):
    """The text form of log lines."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text, a traceback's lines indented."""
        moment = _moment(record).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]
        about = " ".join(f"{name}={_format_value(value)}" for name, value in _fields_of(record).items())
        line = f"{moment} {record.levelname} {record.name}: {record.getMessage()}"
        text = printable(self._redact(f"{line} [{about}]" if about else line))
        trace = printable(self._redact(_traceback(record)), keep="\n")
        return "\n".join([text, *(INDENT + part for part in trace.split("\n") if trace)])


def printable(text: str, keep: str = "") -> str:
    """Write out characters that are not printable, as Python writes them."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else repr(sign)[1:-1] for sign in text)


def _format_value(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(' "[]=') else text


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return the fields of a line. Those given with the line go before those of its task."""
    fields = {**bound(), **{name: value for name, value in vars(record).items() if name in FIELDS}}
    return {name: fields[name] for name in FIELDS if fields.get(name) is not None}


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, timezone.utc)


def _traceback(record: logging.LogRecord) -> str:
    parts = [_TRACE.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts)


CHATTY = ("httpx", "httpcore", "mail.log", "alembic.runtime.migration")
"""Loggers that write a line a request, a line a command, and nothing to learn from."""


def configure(settings: Settings) -> None:
    """Log to stderr as the settings say.
    `debug` is for the monitor's own lines, because a library's may hold what it was given to send."""
    redact = Redactor(secrets_of(settings))
    handler = logging.StreamHandler()
    handler.setFormatter(JsonForm(redact) if settings.log_format == "json" else TextForm(redact))
    level = logging.getLevelName(settings.log_level.upper())
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    logging.getLogger("monitor").setLevel(level)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


def secrets_of(settings: Settings) -> Iterator[str]:
    """Yield every value of the settings that must not be read."""
    yield from _secrets([getattr(settings, name) for name in type(settings).model_fields])
    if settings.database_url and (password := make_url(settings.database_url).password):
        yield str(password)


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)
    elif isinstance(value, dict):
        yield from _secrets(list(value.values()))
    elif hasattr(type(value), "model_fields"):
        yield from _secrets([getattr(value, name) for name in type(value).model_fields])
