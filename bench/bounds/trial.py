"""One thing that is sent: at a bound, or well beyond it."""

from collections.abc import Callable
from dataclasses import dataclass

from bench.bounds.stage import Stage, Strained


@dataclass(frozen=True)
class Trial:
    surface: str
    sends: str
    act: Callable[[Stage], str]
    """Sends it; returns what was answered."""
    is_guarded: bool = False
    """Whether the monitor beside an Airflow is the one that is strained."""

    def strained(self, stage: Stage) -> Strained:
        return stage.guarded if self.is_guarded else stage.plain
