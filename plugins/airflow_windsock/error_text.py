"""The text of an error that may leave Airflow: masked as Airflow masks its logs, and bounded.

Secrets are masked before the text is cut. A cut could leave half a secret, which no longer matches. If no
masker of Airflow is found, only the exception's type is given and no text.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable
from functools import lru_cache

MAX_MESSAGE = 4_000  # characters: a mail shows all of them
MAX_TRACE = 16_000  # characters, the last ones: they name the error
MAX_FRAMES = 50  # of one traceback, the innermost
MAX_MASKED = 200_000  # characters that are given to the masker: bounds its time on a huge text

# The modules of the running version's masker. The Task SDK's masker knows a task's secrets, and core's masker
# knows the scheduler's and the dag-processor's, so both are asked. The last module is 3.0's.
MASKERS = ("airflow.sdk._shared.secrets_masker", "airflow._shared.secrets_masker")
OLD_MASKERS = ("airflow.sdk.execution_time.secrets_masker",)


def describe(error: object) -> dict[str, str | None] | None:
    """Return `error` as a hook has it (an exception, a text or None) in the form for an event's data."""
    if error is None:
        return None
    if not isinstance(error, BaseException):
        return {"type": None, "message": head(_text(error), MAX_MESSAGE), "traceback": None}
    return {
        "type": type(error).__name__,
        "message": head(_text(error), MAX_MESSAGE),
        "traceback": tail(_trace(error), MAX_TRACE) if error.__traceback__ else None,
    }


def head(text: str, length: int) -> str:
    """Return the first `length` characters, masked."""
    masked = mask(text[:MAX_MASKED])
    return masked if len(masked) <= length else masked[: length - 1] + "…"


def tail(text: str, length: int) -> str:
    """Return the last `length` characters, masked."""
    masked = mask(text[-MAX_MASKED:])
    return masked if len(masked) <= length else "…" + masked[1 - length :]


def mask(text: str) -> str:
    """Return `text` with Airflow's secrets replaced, or "" if Airflow has no masker that we know."""
    redactors = _redactors()
    if not redactors:
        return ""
    for redact in redactors:
        text = str(redact(text))
    return text.replace("\x00", "\ufffd")  # PostgreSQL takes no NUL in a text


def _text(error: object) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 (a task's own exception may do anything in __str__)
        return f"<str() of this {type(error).__name__} raised {type(broken).__name__}>"


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-MAX_FRAMES))
    except BaseException as broken:  # noqa: BLE001 (as above)
        return f"<the traceback of this {type(error).__name__} cannot be shown: {type(broken).__name__}>"


@lru_cache(maxsize=1)
def _redactors() -> tuple[Callable[[str], object], ...]:
    return _find_redactors(MASKERS) or _find_redactors(OLD_MASKERS)


def _find_redactors(names: tuple[str, ...]) -> tuple[Callable[[str], object], ...]:
    found = []
    for name in names:
        try:
            found.append(importlib.import_module(name).redact)
        except (ImportError, AttributeError):
            continue
    return tuple(found)
