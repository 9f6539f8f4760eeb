"""The errors that end an iteration, and the one that only interrupts it."""

from __future__ import annotations

MAX_LINE = 1_000  # characters of a message


def one_line(text: str) -> str:
    """Return the text as one line of a log, at most MAX_LINE characters long.
    Control characters and characters that reorder a line are left out."""
    words = "".join(sign if sign.isprintable() else " " for sign in text[: MAX_LINE + 1]).split()
    line = " ".join(words)
    return line if len(text) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"


class FeedError(Exception):
    """The feed cannot be read, and trying again would not help. The message, one line, says what to mend."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class FeedRefused(FeedError):
    """The monitor, or what stands before it, refuses this reader, this filter or this cursor."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status of the answer."""


class FeedUnavailable(FeedError):
    """An error of get_json(): no answer, or the answer "later". Iterating waits instead."""


class Away(Exception):
    """No answer, a lost connection, or the answer "later". This error never leaves the package."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(one_line(message))
        self.retry_after = retry_after
        """The seconds that the answer asks for, or 0 if it asks for none."""
