"""The bounds on JSON that is read from outside.

`loads` is the only function that decodes JSON from outside, and it bounds the number of values and their
depth. While Python decodes JSON, no other thread of the process runs. A text of 32 MiB with empty lists makes
eleven million objects, which take three seconds and 800 MiB of memory.
"""

import json
from typing import Any

MAX_VALUES = 100_000  # 20 ms and 10 MiB: a batch of 500 events has 20,000, Airflow's page of 100 tasks 5,000
MAX_DEPTH = (
    500  # levels: Python's own readers and writers give up near 1,000, or before where the stack is deep
)
_SIGNS = (",", "[", "{")
"""The characters of which one stands before each value, except a text's only value. Those within texts are
counted too."""
_BYTES = tuple(sign.encode() for sign in _SIGNS)


class TooMuch(ValueError):
    """The text may be JSON, and is more than its reader takes."""


class TooManyValues(TooMuch):
    """The text holds too many values."""


def loads(text: bytes | str, most: int = MAX_VALUES) -> Any:
    """Decode JSON.
    Raises ValueError if the text is no JSON, TooManyValues if it may hold more than `most` values, and
    TooMuch if it is nested too deeply or holds a number with too many digits. No other error is raised, not
    even RecursionError."""
    values = sum(map(text.count, _BYTES)) if isinstance(text, bytes) else sum(map(text.count, _SIGNS))
    if values > most:
        raise TooManyValues(f"it holds more than {most} values")
    try:
        value = json.loads(text)
    except RecursionError:
        raise TooMuch(f"it is nested more than {MAX_DEPTH} levels deep") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError as error:  # Python's bound on the digits of a whole number
        raise TooMuch("it holds a number with too many digits") from error
    if values > MAX_DEPTH and is_deeper(value, MAX_DEPTH):
        raise TooMuch(f"it is nested more than {MAX_DEPTH} levels deep")
    return value


def is_deeper(value: Any, most: int) -> bool:
    """Return True if lists and objects are nested more than `most` levels deep in it."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(most):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
    return bool(level)
