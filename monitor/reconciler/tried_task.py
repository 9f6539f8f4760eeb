"""A task that was tried more than once: of which of its tries the log lacks an end."""

from collections.abc import Collection
from dataclasses import dataclass, field

from monitor.board import TaskName, Try
from monitor.events.rest import Row, number_of, text_of


@dataclass
class TriedTask:
    """One row of a listing that has earlier tries."""

    row: Row
    name: TaskName
    try_number: int
    ti_id: str
    told: dict[int, Try] = field(default_factory=dict)
    """What the log has of its tries."""

    @classmethod
    def of(cls, deployment: str, row: Row) -> "TriedTask":
        dag_id, run_id, task_id = (text_of(row, name) for name in ("dag_id", "dag_run_id", "task_id"))
        name = TaskName(deployment, dag_id, run_id, task_id, number_of(row, "map_index"))
        return cls(row, name, number_of(row, "try_number"), text_of(row, "id"))

    @property
    def lacking(self) -> set[int]:
        """The earlier tries whose ends are not told, or not surely as Airflow has filed them."""
        return {number for number in range(1, self.try_number) if not self.is_told(number)}

    def is_told(self, number: int) -> bool:
        """A failure is taken for told. Anything else may be the word of a process whose scheduler was dead:
        Airflow has filed its try as failed all the same."""
        return self.has_end(number) and (self.told[number].filed or self.told[number].is_failure)

    def has_end(self, number: int) -> bool:
        """Whether anybody told of an end of this try."""
        return number in self.told and self.told[number].is_over

    def uuid_of(self, number: int, filed: Collection[int]) -> str | None:
        """The UUID of a filed try, where the log knows it.

        A try that failed while it was queued is not filed: its UUID goes on to the next number, and what is
        filed under that one is the same try to Airflow (measured on 3.2.2).
        """
        if number in self.told:
            return self.told[number].ti_id
        before = max((other for other in self.told if other < number), default=None)
        if before is None or any(before <= other < number for other in filed):
            return None
        return self.told[before].ti_id if self.told[before].is_failure else None
