"""Text of anybody's as one line of a log: nothing in it commands a terminal or begins a line of its own."""

from __future__ import annotations

MAX_LINE = 1_000  # characters; the longest message of the monitor's own has about 300


def one_line(text: str) -> str:
    """The text without controls, signs that reorder a line, and halves of surrogate pairs, and no longer than
    MAX_LINE."""
    shown = text[: MAX_LINE + 1]
    words = "".join(sign if sign.isprintable() else " " for sign in shown).split()
    line = " ".join(words)
    return line if len(shown) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"
