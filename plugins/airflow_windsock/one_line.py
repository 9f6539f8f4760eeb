"""The conversion of any text to one line of a log.

The line holds no command to a terminal, and begins no line of its own.
"""

from __future__ import annotations

MAX_LINE = 1_000  # characters: the longest message of the monitor has about 300


def one_line(text: str) -> str:
    """Return the text as one line of at most MAX_LINE characters.
    Control characters, characters that reorder a line, and halves of surrogate pairs are left out."""
    beginning = text[: MAX_LINE + 1]
    words = "".join(sign if sign.isprintable() else " " for sign in beginning).split()
    line = " ".join(words)
    return line if len(beginning) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"
