"""What a reader takes of the log: its filter, and its rights. event_log.conditions() says the same in SQL."""

from dataclasses import dataclass
from functools import cached_property

from monitor.event_log import Filter, Line, Visible, may_read
from monitor.rules.globs import WILD, matches_any

KEYS = 50  # DAGs up to which a reader is found by their names; one with more is asked about every block


@dataclass(frozen=True)
class Selection:
    """One value of each filtered attribute must match, and the reader must be allowed to see the DAG."""

    wanted: Filter
    visible: Visible = None

    @cached_property
    def everything(self) -> bool:
        return self.visible is None and not self.wanted.globs

    @cached_property
    def dags(self) -> frozenset[str] | None:
        """The DAGs that alone can concern this reader, or None where they cannot be named."""
        asked = next((globs for name, globs in self.wanted.globs if name == "dag_id"), ())
        if asked and all(WILD.isdisjoint(glob) for glob in asked):
            return frozenset(asked)
        if self.visible is not None and len(self.visible) <= KEYS:
            return frozenset(dag for _, dag in self.visible)
        return None

    def takes(self, line: Line) -> bool:
        if not may_read(line.deployment, line.dag_id, self.visible):
            return False
        return all(_matches(globs, getattr(line, name)) for name, globs in self.wanted.globs)


def _matches(globs: tuple[str, ...], value: str | None) -> bool:
    return value is not None and matches_any(globs, value)
