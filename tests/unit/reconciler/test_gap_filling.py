"""A state that was set by hand and set back is told again, and nothing else is."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from monitor.database.engine import Database
from monitor.event_log.append import append, prune
from monitor.event_log.projections.apply import apply
from monitor.events.event import Event, parse_event
from monitor.reconciler.gap_filling import TRIED_AT_ONCE, contradictions
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import NOW

SOURCE = "/airflow/local"
TI = "00000000-0000-7000-8000-000000000001"
LATER = NOW + timedelta(minutes=1)


def tell(database: Database, *events: dict[str, Any] | Event, at: datetime = NOW) -> None:
    for one in events:
        event = one if isinstance(one, Event) else parse_event(one)

        def write(connection: Any, event: Event = event) -> None:
            seq = append(connection, [event], at)[0]
            if seq is not None:
                apply(connection, seq, event)

        database.write_now(write)


def told_again(
    database: Database, *rows: dict[str, Any], settled_before: datetime = LATER
) -> Sequence[Event]:
    """What a look at Airflow's rows, as the reconciler builds events from them, makes the log tell again."""
    events = {row["id"]: parse_event(row) for row in rows}
    return database.read_now(lambda c: contradictions(c, SOURCE, events, settled_before))


def test_a_run_set_back_is_told_again_under_the_next_number(database: Database) -> None:
    failed, success = run_event("failed"), run_event("success")
    tell(database, failed, success)
    (again,) = told_again(database, failed)
    assert again.id == f"{failed['id']}:2"
    assert (again.type, again.data) == (failed["type"], parse_event(failed).data)
    assert parse_event(failed | {"id": again.id}) == again
    tell(database, again)
    assert told_again(database, failed) == []
    (back,) = told_again(database, success)
    tell(database, back)
    assert (back.id, told_again(database, failed)[0].id) == (f"{success['id']}:2", f"{failed['id']}:3")


def test_a_task_set_back_is_told_again(database: Database) -> None:
    failed, success = (task_event(state, ti_id=TI, map_index=3) for state in ("failed", "success"))
    tell(database, failed, success)
    assert [event.id for event in told_again(database, failed, success)] == [f"task:{TI}:failed:2"]


def test_reporters_who_count_tries_otherwise_do_not_go_on_for_ever(database: Database) -> None:
    tell(database, *(task_event(state, ti_id=TI, try_number=2) for state in ("failed", "success")))
    row = task_event("failed", ti_id=TI, try_number=1)
    tell(database, *told_again(database, row))
    assert told_again(database, row) == []


def test_set_back_more_often_than_is_looked_up_at_once(database: Database) -> None:
    failed, success = run_event("failed"), run_event("success")
    times = TRIED_AT_ONCE + 3
    tell(database, failed, success)
    for _ in range(times):
        tell(database, *told_again(database, failed))
        tell(database, *told_again(database, success))
    assert [event.id for event in told_again(database, failed)] == [f"{failed['id']}:{times + 2}"]


def test_each_of_a_page_is_judged_by_itself(database: Database) -> None:
    pairs = [[run_event(state, run_id=f"r{n}") for state in ("failed", "success")] for n in range(40)]
    tasks = [[task_event(state, f"t{n}", ti_id=f"{n}") for state in ("failed", "success")] for n in range(40)]
    for failed, success in pairs + tasks:
        tell(database, failed, success)
    shown = [pair[number % 2] for number, pair in enumerate(pairs + tasks)]
    again = told_again(database, *shown)
    assert {event.id for event in again} == {f"{failed['id']}:2" for failed, _ in (pairs + tasks)[::2]}


def test_a_young_last_word_is_believed(database: Database) -> None:
    failed = run_event("failed")
    tell(database, failed, run_event("success"))
    assert told_again(database, failed, settled_before=NOW) == []
    assert len(told_again(database, failed, settled_before=NOW + timedelta(microseconds=1))) == 1


@pytest.mark.parametrize(
    "events",
    [
        [run_event("running"), run_event("success")],
        [task_event("running", ti_id=TI), task_event("success", ti_id=TI)],
    ],
    ids=["run", "task"],
)
def test_running_is_never_told_again(database: Database, events: list[dict[str, Any]]) -> None:
    tell(database, *events)
    assert told_again(database, events[0]) == []


def test_a_later_occurrence_or_try_contradicts_nothing(database: Database) -> None:
    failed, first = run_event("failed"), task_event("failed", ti_id=TI)
    tell(database, failed, run_event("success", start=100), first)
    tell(database, task_event("success", ti_id=TI[:-1] + "2", try_number=2))
    assert told_again(database, failed, first) == []


def test_a_last_word_that_is_forgotten_is_settled(database: Database) -> None:
    failed = run_event("failed")
    tell(database, failed, run_event("success"))
    database.write_now(lambda c: prune(c, LATER))
    tell(database, failed, at=LATER)
    tell(database, run_event("success"), at=LATER)
    database.write_now(lambda c: prune(c, LATER + timedelta(seconds=1)))
    assert len(told_again(database, failed)) == 1


def test_what_has_no_state_is_passed_over(database: Database) -> None:
    tell(database, asset_event(1))
    assert told_again(database, asset_event(1), run_event("failed")) == []
