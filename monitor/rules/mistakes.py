"""What is wrong with a rules file, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from monitor.errors import SettingsError

MAX_TOLD = 25  # more than that is one mistake many times, or no rules file at all


@dataclass(frozen=True)
class Mistake:
    line: int | None
    """None: of the file as a whole."""
    where: str
    """Such as rules[2].group.wait; empty: the whole file."""
    message: str


class RulesError(SettingsError):
    """A rules file cannot be used. Its words name the line, the field, the value and the remedy; they show no
    secret, and so may stand in the log and on the dashboard."""

    def __init__(self, file: str, mistakes: Sequence[Mistake]) -> None:
        self.file = file
        self.mistakes = tuple(mistakes)
        super().__init__(file, self.mistakes)

    def __str__(self) -> str:
        lines = [_line(self.file, mistake) for mistake in self.mistakes[:MAX_TOLD]]
        left = len(self.mistakes) - MAX_TOLD
        return "\n".join([*lines, f"{self.file}: and {left} more"] if left > 0 else lines)


def _line(file: str, mistake: Mistake) -> str:
    place = file if mistake.line is None else f"{file}:{mistake.line}"
    return ": ".join(part for part in (place, mistake.where, mistake.message) if part)
