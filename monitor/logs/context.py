"""What the present work is about. Every line that is written in its course carries it."""

from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

FIELDS = (
    *("request_id", "trace_id", "deployment", "dag_id", "run_id"),
    *("event_id", "event_ids", "delivery_id", "method", "path", "status", "seconds", "client"),
)
"""What a line may carry beside its message, bound here or given as `extra`, in the order of the text form."""

_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))


def bind(**fields: Any) -> None:
    """From now on this task's lines, and those of tasks and threads that it starts, carry these too; what is
    None is not known."""
    _about.set({**_about.get(), **{name: value for name, value in fields.items() if value is not None}})


def bound() -> Mapping[str, Any]:
    return _about.get()


def request_id() -> str | None:
    """Of the request that is being answered."""
    found = _about.get().get("request_id")
    return found if isinstance(found, str) else None
