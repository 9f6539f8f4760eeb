"""The recent runs as a small chart: bars for HTML, signs for plain text. Each says without its colour what it
is: its height is how long the run took, the sign below it how it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from monitor.render.story import Past

HEIGHT = 44  # pixels of the longest run's bar
LOWEST = 5  # pixels, so that a run of a second is seen
STEPS = "▁▂▃▄▅▆▇█"
GOOD, BAD = "✓", "✗"


@dataclass(frozen=True)
class Bar:
    """One run."""

    run: Past
    height: int
    step: str
    """The bar as one sign of text."""

    @property
    def sign(self) -> str:
        return GOOD if self.run.is_good else BAD


@dataclass(frozen=True)
class Chart:
    """Bars, oldest first; empty where there is too little to compare."""

    bars: tuple[Bar, ...] = ()

    @property
    def good(self) -> int:
        return sum(bar.run.is_good for bar in self.bars)

    @property
    def bad(self) -> int:
        return len(self.bars) - self.good

    @property
    def longest(self) -> timedelta | None:
        return _longest([bar.run for bar in self.bars])

    @property
    def steps(self) -> str:
        return "".join(bar.step for bar in self.bars)

    @property
    def signs(self) -> str:
        return "".join(bar.sign for bar in self.bars)

    @property
    def failing(self) -> int:
        """How many of the latest runs failed one after the other."""
        return len(self.signs) - len(self.signs.rstrip(BAD))


def chart_of(history: Sequence[Past]) -> Chart:
    if len(history) < 2:
        return Chart()
    longest = _longest(history)
    return Chart(tuple(_bar(run, longest) for run in history))


def _bar(run: Past, longest: timedelta | None) -> Bar:
    share = run.duration / longest if run.duration and longest else 0.0
    height = max(LOWEST, round(share * HEIGHT))
    return Bar(run, height, STEPS[min(len(STEPS) - 1, int(share * len(STEPS)))])


def _longest(history: Sequence[Past]) -> timedelta | None:
    return max((run.duration for run in history if run.duration), default=None)
