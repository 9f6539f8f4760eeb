"""Whatever is set by hand, set back, reported late, twice or never: the log's last word becomes Airflow's.

A machine plays one run, or one task, as Airflow holds it: it ends, is set by hand, is cleared; hooks report
before the commit, and their reports are lost, doubled, late and out of order; polls read a row, and tell of
it at once or much later. Against it stands the real log with the real board.
"""

import json
import shutil
import tempfile
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.event_log import read
from monitor.event_log.append import append
from monitor.event_log.projections import tries
from monitor.event_log.projections.apply import apply
from monitor.events.event import Event, parse_event
from monitor.reconciler.gap_filling import contradictions
from tests.sample import START, run_event, task_event

SOURCE = "/airflow/local"
MARGIN = timedelta(seconds=30)  # Airflow commits within it


def run(number: int, state: str) -> dict[str, Any]:
    return run_event(state, start=1000.0 * number)


def task(number: int, state: str) -> dict[str, Any]:
    return task_event(state, ti_id=f"00000000-0000-7000-8000-{number:012d}", try_number=number)


class SetBack(RuleBasedStateMachine):
    ends: ClassVar[tuple[str, ...]]
    template: ClassVar[bytes] = b""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="windsock-"))
        file = self.folder / "windsock.db"
        file.write_bytes(self.template)
        self.database = Database(f"sqlite:///{file}")
        if not self.template:
            migrate(self.database)
            self.database.close()
            SetBack.template = file.read_bytes()
            self.database = Database(f"sqlite:///{file}")
        self.now = START
        self.number = 1
        self.state = "running"
        self.uncommitted: str | None = None
        self.reports: list[Event] = []
        self.row: tuple[Event, datetime] | None = None
        self._begin_counting()

    def _begin_counting(self) -> None:
        self.visits: Counter[str] = Counter()
        self.seen: list[str] = []  # by polls that had nothing young in their way; no state twice in a row
        self.noise = 0  # what was logged of another state than Airflow is in
        self.ahead = 0  # the same where Airflow may still commit it
        self.logged_at = self.now - 2 * MARGIN

    def teardown(self) -> None:
        try:
            for report in self.reports:
                self._log(report)
            self.reports.clear()
            self.pass_time(2)
            self.poll()
            self.pass_time(2)
            self.poll()
            self.poll_again()
        finally:
            self.database.close()
            shutil.rmtree(self.folder)

    def _event(self, state: str) -> Event:
        return parse_event(self.occurrence(self.number, state))

    @staticmethod
    def occurrence(number: int, state: str) -> dict[str, Any]:
        raise NotImplementedError

    # What Airflow does

    @rule(data=st.data(), twice=st.booleans(), lost=st.booleans())
    def change(self, data: st.DataObject, twice: bool, lost: bool) -> None:
        """It ends, or someone sets it by hand: the hook fires, and nothing is committed yet."""
        self.commit()
        self.uncommitted = data.draw(st.sampled_from(self.ends))
        if not lost:
            self.reports += [self._event(self.uncommitted)] * (2 if twice else 1)

    @rule()
    def commit(self) -> None:
        if self.uncommitted and self.uncommitted != self.state:
            self.state = self.uncommitted
            self.visits[self.state] += 1
        self.uncommitted, self.ahead = None, 0

    @rule()
    def roll_back(self) -> None:
        self.noise += self.ahead
        self.uncommitted, self.ahead = None, 0

    @precondition(lambda self: self.state != "running")
    @rule(told=st.booleans())
    def clear(self, told: bool) -> None:
        """It begins anew; reports of what was before may still be on their way."""
        self.commit()
        self.number += 1
        self.state = "running"
        self._begin_counting()
        if told:
            self.reports.append(self._event("running"))

    @rule(margins=st.sampled_from([0.1, 0.5, 1.1, 3.0]))
    def pass_time(self, margins: float) -> None:
        self.commit()
        self.now += margins * MARGIN

    # What the monitor hears

    @precondition(lambda self: self.reports)
    @rule(data=st.data(), keep=st.booleans())
    def a_report_arrives(self, data: st.DataObject, keep: bool) -> None:
        """In any order; one whose answer was cut off comes again."""
        report = self.reports.pop(data.draw(st.integers(0, len(self.reports) - 1)))
        self._log(report)
        if keep:
            self.reports.append(report)

    @rule()
    def read_row(self) -> None:
        self.row = (self._event(self.state), self.now)

    @precondition(lambda self: self.row)
    @rule()
    def tell_of_the_row(self) -> None:
        assert self.row
        (event, asked), self.row = self.row, None
        for told in self._to_tell(event, asked):
            self._log(told)

    @rule()
    def poll(self) -> None:
        young = self.now - self.logged_at <= MARGIN  # a word counts once it is older than that
        self.read_row()
        self.tell_of_the_row()
        if self.state == "running" or young:
            return
        if self.seen[-1:] != [self.state]:
            self.seen.append(self.state)
        words = self.database.read_now(lambda c: tries.find_last_states(c, [self._event(self.state)]))
        assert [word.state for word in words.values()] == [self.state]

    @rule()
    def poll_again(self) -> None:
        """The second of two polls with nothing between them tells nothing."""
        self.poll()
        assert self._to_tell(self._event(self.state), self.now) == []

    # What must hold

    @invariant()
    def each_visit_that_was_seen_is_told_and_no_more(self) -> None:
        told = self._told()
        for state in self.ends:
            assert self.seen.count(state) <= told[state] <= self.visits[state] + self.noise + self.ahead
        assert told["running"] <= 1

    def _told(self) -> Counter[str]:
        page = self.database.read_now(lambda c: read.read_after(c, 0, 10_000))
        ids = [json.loads(one.body)["id"] for one in page.events]
        return Counter(
            {
                state: sum(one.startswith(self._event(state).id) for one in ids)
                for state in ("running", *self.ends)
            }
        )

    def _to_tell(self, event: Event, asked: datetime) -> list[Event]:
        """As the reconciler does."""

        def look(connection: Any) -> list[Event]:
            if read.missing(connection, SOURCE, [event.id]):
                return [event]
            return contradictions(connection, SOURCE, {event.id: event}, asked - MARGIN)

        return self.database.read_now(look)

    def _log(self, event: Event) -> None:
        def write(connection: Any) -> bool:
            (seq,) = append(connection, [event], self.now)
            if seq is not None:
                apply(connection, seq, event)
            return seq is not None

        if self.database.write_now(write) and event.id.startswith(self._event(event.get("state")).id):
            self.logged_at = self.now
            if event.get("state") == self.uncommitted:
                self.ahead += 1
            else:
                self.noise += event.get("state") != self.state


class RunSetBack(SetBack):
    occurrence = staticmethod(run)
    ends = ("success", "failed")


class TaskSetBack(SetBack):
    occurrence = staticmethod(task)
    ends = ("success", "failed", "skipped")


EXAMPLES = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [RunSetBack, TaskSetBack])
def test_the_logs_last_word_is_airflows(machine: type[SetBack]) -> None:
    run_state_machine_as_test(machine, settings=EXAMPLES)
