"""The daily budget: at most so many, the last ones for what is urgent, the rest told together."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.suppression import MARGIN
from monitor.notifications.outbox.records import NotificationKind, State
from monitor.rules.model import Budget, Config, Match, Rule
from tests.unit.conftest import FakeClock
from tests.unit.delivery_support import TO, Office, texts

DAY = timedelta(hours=24)


@pytest.fixture
def database(tmp_path: Path) -> Any:
    database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def office(database: Database, clock: FakeClock, tmp_path: Path) -> Office:
    rule = Rule(
        name="all",
        match=Match(type=("airflow.dag_run.*",)),
        notify_on=("first_failure", "recovered", "success", "notice"),
        to=(TO,),
    )
    config = Config(rules=(rule,), budget=Budget(daily=4, reserve=2, digest_every=timedelta(hours=1)))
    return Office(database, clock, Mailbox(tmp_path / "mailbox", clock), config=config, is_counted=True)


@pytest.fixture
def mailbox(office: Office, clock: FakeClock, tmp_path: Path) -> Mailbox:
    return Mailbox(tmp_path / "mailbox", clock)


def end(office: Office, state: str, *dag_ids: str) -> None:
    for dag_id in dag_ids:
        office.town.end(state, dag_id)
        office.deliver()
        office.clock.forward(1)


def test_what_is_not_urgent_leaves_the_reserve_alone(office: Office) -> None:
    end(office, "success", "a", "b", "c", "d")
    assert [one.state for one in office.deliveries() if one.kind is NotificationKind.SUCCESS] == [
        State.SUPPRESSED,
        State.SUPPRESSED,
        State.SENT,
        State.SENT,
    ]
    [digest] = [one for one in office.deliveries() if one.kind is NotificationKind.DIGEST]
    assert office.deliveries()[0].reason == (
        "suppressed: the daily budget had no room: reported in the digest, "
        f"notification {digest.notification_id}"
    )
    assert office.news == []


def test_the_digest_tells_of_all_that_had_no_room(office: Office, mailbox: Mailbox) -> None:
    end(office, "success", "a", "b", "mine", "yours")
    office.clock.now += timedelta(hours=1)
    office.deliver()
    text = texts(mailbox)[0]
    for dag_id in ("mine", "yours"):
        assert dag_id in text
    [digest] = [one for one in office.deliveries() if one.kind is NotificationKind.DIGEST]
    assert digest.state is State.SENT


def test_failures_use_the_reserve_and_then_wait_for_the_first_place_that_frees(office: Office) -> None:
    began = office.clock()
    end(office, "failed", *"abcdef")
    states = [one.state for one in reversed(office.deliveries())]
    assert states == [*[State.SENT] * 4, *[State.PARKED] * 2]
    waiting = [one for one in reversed(office.deliveries()) if one.state is State.PARKED]
    free = began + DAY + MARGIN
    assert [one.next_attempt_at for one in waiting] == [free, free + timedelta(seconds=1)]
    assert "the budget of 4 mails in 24 hours is used" in waiting[0].reason
    assert [event.type for event in office.news] == ["windsock.delivery.parked"] * 2
    office.clock.now = free
    office.deliver()
    assert [one.state for one in reversed(office.deliveries())].count(State.PARKED) == 1


def test_never_more_than_the_budget_where_many_are_due_at_once(office: Office) -> None:
    for number in range(30):
        office.town.end("failed", f"dag {number}")
    office.deliver()
    states = [one.state for one in office.deliveries()]
    assert (states.count(State.SENT), states.count(State.PARKED)) == (4, 26)
