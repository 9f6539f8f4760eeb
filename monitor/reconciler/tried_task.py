"""A task instance with tries that Airflow has filed: of which of them the log lacks an end."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from uuid import UUID

from monitor.board import TaskName, Try
from monitor.errors import EventError
from monitor.events.rest import Row, moment_of, number_of, text_of
from monitor.events.values import MAX_KEY, SHOWN_VALUE

FILED_UNDER_ITS_NUMBER = (None, "restarting", "up_for_retry")
"""States of a row whose number is still that of the try that Airflow has filed: the scheduler counts on when
it schedules the next one."""
START_SLACK = timedelta(seconds=2)
"""How much later than the run's start a task instance must have been made to have been made anew: the hosts
that make runs and start them have clocks of their own."""
DATES = ("scheduled_when", "start_date", "end_date")  # that are read of it
MAX_TRIES = 10_000  # of a task: each is looked for, so a number that nobody reaches costs no memory
UUID7_UNIX_MS_BITS = 80  # a UUID of version 7 begins with 48 bits of milliseconds


@dataclass
class TriedTask:
    """One row of a listing of task instances."""

    row: Row
    name: TaskName
    try_number: int
    ti_id: str
    told: dict[int, Try] = field(default_factory=dict)
    """What the log has of its tries."""
    run_started: datetime | None = None
    """When its run first started, as far as the log knows."""

    @classmethod
    def of(cls, deployment: str, row: Row) -> "TriedTask":
        """Raises EventError where the row makes no sense."""
        dag_id, run_id, task_id = (text_of(row, name) for name in ("dag_id", "dag_run_id", "task_id"))
        name = TaskName(deployment, dag_id, run_id, task_id, number_of(row, "map_index"))
        if any(len(part) > MAX_KEY for part in (dag_id, run_id, task_id)):
            raise EventError(f"a name of {dag_id[:SHOWN_VALUE]!r} is longer than {MAX_KEY} characters")
        try_number = number_of(row, "try_number")
        if try_number > MAX_TRIES:
            raise EventError(
                f"try_number: {try_number} is more than {MAX_TRIES}; its tries are not looked for"
            )
        for date in DATES:
            moment_of(row, date)
        return cls(row, name, try_number, text_of(row, "id"))

    @property
    def remembered_as(self) -> str:
        """What stays the same for as long as nothing more of it is filed."""
        return f"{self.ti_id} {self.last_filed}"

    @property
    def lacking(self) -> set[int]:
        """The earlier tries whose ends are not told, or not surely as Airflow has filed them."""
        first = 0 if self.is_made_anew else 1
        return {number for number in range(first, self.last_filed + 1) if not self.is_told(number)}

    @property
    def last_filed(self) -> int:
        """The number of the latest try that Airflow may have filed."""
        waits_for_its_number = self.row.get("state") in FILED_UNDER_ITS_NUMBER
        return self.try_number if waits_for_its_number else self.try_number - 1

    @property
    def may_be_made_anew(self) -> bool:
        """Whether its first UUID can tell. Mapped instances are made while the run goes on."""
        return self.name.map_index < 0 and (self.try_number <= 1 or 1 in self.told)

    @property
    def is_made_anew(self) -> bool:
        """Whether it was cleared before it ever began, in a run that went on: Airflow files that as try 0.

        Airflow makes the instances of a run before the run starts, and gives one a new UUID when it is
        cleared. No other field of REST's answer tells.
        """
        made = _made_at(self._first_id) if self.may_be_made_anew else None
        return bool(made and self.run_started and made > self.run_started + START_SLACK)

    @property
    def _first_id(self) -> str | None:
        """The UUID of the first try that began, or is to begin."""
        return self.told[1].ti_id if 1 in self.told else self.ti_id

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


def _made_at(ti_id: str | None) -> datetime | None:
    """When a UUID of version 7 was made; None for any other."""
    try:
        known = UUID(ti_id or "")
    except ValueError:
        return None
    if known.version != 7:
        return None
    try:
        return datetime.fromtimestamp((known.int >> UUID7_UNIX_MS_BITS) / 1000, timezone.utc)
    except (ValueError, OverflowError, OSError):  # its 48 bits reach beyond the calendar
        return None
