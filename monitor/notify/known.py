"""What is known where rules decide about events that were logged together: read once for all of them."""

from collections.abc import Sequence
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection

from monitor import board, incidents, silences, unsubscribed
from monitor.events import Event
from monitor.events.data import TEMPORARY_RUN, TEST, TaskInstanceData
from monitor.origins import origin_of
from monitor.outbox import told_before
from monitor.rules import Channel, Facts, Rules, Target
from monitor.rules.model import Rule
from monitor.silences import Silence
from monitor.telling import Telling


class Known:
    """Of one transaction. Nobody else changes any of it meanwhile, but for a person who silences or
    unsubscribes at this very moment, and delivery asks for those once more."""

    def __init__(
        self,
        connection: Connection,
        rules: Rules,
        events: Sequence[Event],
        telling: Telling,
        now: datetime,
    ) -> None:
        self.connection, self.rules, self.now = connection, rules, now
        self.open = incidents.Open(connection, events)
        """Kept up to what the events change."""
        self.facts: list[Facts] = board.facts_of_all(connection, events)
        """Of each event, in their order."""
        self._events = events
        self._telling = telling
        self._origins: dict[str, datetime] = {}
        self._unsubscribed: dict[tuple[str, str], bool] = {}

    def why_not(self, event: Event) -> str | None:
        """Why nobody is mailed about an event; None where people are."""
        if self._is_test(event):
            return "suppressed: a test (airflow dags test, airflow tasks test) is no production"
        if event.deployment not in self._origins:
            self._origins[event.deployment] = origin_of(self.connection, event.deployment, self.now)
        return self._telling.why_not(event, self._origins[event.deployment], self.now)

    def _is_test(self, event: Event) -> bool:
        """Whether somebody only tests a DAG or a task with its run."""
        run_id = str(event.get("run_id") or "")
        if run_id.startswith(TEMPORARY_RUN) or event.get("run_type") == TEST:
            return True
        is_task = isinstance(event.data, TaskInstanceData)
        return is_task and (event.deployment, event.dag_id, run_id) in self._test_runs

    @cached_property
    def _test_runs(self) -> set[tuple[str, str, str]]:
        tasks = [event for event in self._events if isinstance(event.data, TaskInstanceData)]
        return board.test_runs(self.connection, tasks)

    def silence(self, facts: Facts) -> Silence | None:
        """The active silence that covers an event."""
        return silences.first_of(self._silences, facts)

    @cached_property
    def _silences(self) -> list[Silence]:
        return silences.active(self.connection, self.now)

    @cached_property
    def is_restored(self) -> bool:
        """Whether events may have been told before that the database does not know to be told."""
        return told_before.any_at_all(self.connection)

    def is_unsubscribed(self, rule: Rule, target: Target) -> bool:
        if target.channel is not Channel.EMAIL:
            return False
        name = (target.recipient, rule.name)
        if name not in self._unsubscribed:
            self._unsubscribed[name] = unsubscribed.is_unsubscribed(self.connection, *name)
        return self._unsubscribed[name]
