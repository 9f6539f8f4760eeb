"""How the tests and the tasks wait for each other: by files in a folder that the environment names."""

import os
import time
from pathlib import Path

FOLDER = Path(os.environ["WINDSOCK_TEST_SIGNALS"])
DEADLINE_SECONDS = 240  # longer than any story; a task that nobody ends then fails
PAUSE_SECONDS = 0.1


def give(name: str) -> None:
    """Raise a signal; it stays."""
    (FOLDER / name).touch()


def is_given(name: str) -> bool:
    return (FOLDER / name).exists()


def await_signal(name: str) -> None:
    """Wait for a signal. Raises TimeoutError."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_given(name):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody gave the signal {name!r}")
        time.sleep(PAUSE_SECONDS)
