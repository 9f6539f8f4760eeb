"""The errors that end an iteration, and the one that only interrupts it."""

from __future__ import annotations

MAX_LINE = 1_000  # characters of a message


def one_line(text: str) -> str:
    """Return the text as one line of a log: no control characters, none that reorder a line, and no longer
    than MAX_LINE."""
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


class Away(Exception):
    """Nobody answers, the connection was lost, or the answer is "later". Never leaves this package."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(one_line(message))
        self.retry_after = retry_after
        """Seconds, as the answer asks for; 0: it asks for nothing."""
