"""Where log lines go, and which: one handler on the root logger, for uvicorn's and every library's too."""

import logging
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from monitor.logs.forms import JsonForm, TextForm
from monitor.logs.redact import Redactor
from monitor.settings import Settings

CHATTY = ("httpx", "httpcore", "mail.log", "alembic.runtime.migration")
"""Loggers that write a line a request, a line a command, and nothing to learn from."""


def configure(settings: Settings) -> None:
    """Log to stderr as the settings say. `debug` is for the monitor's own lines: a library's may hold what it
    was given to send."""
    redact = Redactor(secrets_of(settings))
    handler = logging.StreamHandler()
    handler.setFormatter(JsonForm(redact) if settings.log_format == "json" else TextForm(redact))
    level = logging.getLevelName(settings.log_level.upper())
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    logging.getLogger("monitor").setLevel(level)
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(max(level, logging.WARNING))


def secrets_of(settings: Settings) -> Iterator[str]:
    """Every value of the settings that nobody may read."""
    yield from _secrets([getattr(settings, name) for name in type(settings).model_fields])
    if settings.database_url and (password := make_url(settings.database_url).password):
        yield str(password)


def _secrets(value: Any) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _secrets(one)
    elif isinstance(value, dict):
        yield from _secrets(list(value.values()))
    elif hasattr(type(value), "model_fields"):
        yield from _secrets([getattr(value, name) for name in type(value).model_fields])
