"""Wait for a condition, with a deadline: never sleep for luck."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 20.0  # seconds; far more than a healthy machine needs
PAUSE = 0.02  # seconds between two looks


def until(condition: Callable[[], T], what: str, deadline: float = DEADLINE, pause: float = PAUSE) -> T:
    """Return the condition's first true value. Raises AssertionError after `deadline` seconds. `pause` in
    seconds: longer where a look takes what it waits for from its work."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s for {what}; last seen: {value!r}")
        time.sleep(pause)


def settled(amiss: Callable[[], list[str]], deadline: float = DEADLINE) -> None:
    """Wait until nothing is amiss. Raises AssertionError that says what still is after `deadline` seconds."""
    end = time.monotonic() + deadline
    while (left := amiss()) and time.monotonic() < end:
        time.sleep(1)  # each look is a comparison of its own
    assert not left, "\n".join(left)
