"""What the mail that is being written may name: for filters, and for the parts that the built-in templates
share, which are made once and belong to no mail."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Values = Mapping[str, Any]
"""By their names (docs/mail.md)."""

_present: ContextVar[Values] = ContextVar("the mail that is being written")


@contextmanager
def writing(values: Values) -> Iterator[None]:
    token = _present.set(values)
    try:
        yield
    finally:
        _present.reset(token)


def of_present(name: str) -> Any:
    return _present.get()[name]
