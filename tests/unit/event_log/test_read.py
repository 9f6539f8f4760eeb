"""The log: appended once, in commit order, read after a cursor, forgotten by age."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from monitor.database.engine import Database
from monitor.database.statements import MAX_PAGE_BYTES
from monitor.errors import CursorError
from monitor.event_log import append as event_log_append
from monitor.event_log import cursor
from monitor.event_log import read as event_log_read
from monitor.event_log.cursor import Cursor
from monitor.event_log.filters import Filter
from monitor.event_log.read import EventLogPage
from monitor.events.event import Event, parse_event
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import NOW

T = TypeVar("T")


def append(database: Database, *raws: dict[str, object], at: float = 0) -> list[int | None]:
    events = [parse_event(raw) for raw in raws]
    return database.write_now(lambda c: event_log_append.append(c, events, NOW + timedelta(seconds=at)))


def ids(database: Database, read: Callable[[Connection], EventLogPage]) -> list[str]:
    return [json.loads(event.body)["id"] for event in database.read_now(read).events]


def test_seq_counts_up_without_gaps_and_duplicates_have_none(database: Database) -> None:
    one, two, three = (run_event(run_id=name) for name in "abc")
    assert append(database, one, two) == [1, 2]
    assert append(database, two, three, three) == [None, 3, None]
    assert ids(database, lambda c: event_log_read.read_after(c, 0, 10)) == [one["id"], two["id"], three["id"]]


def test_the_same_id_from_another_deployment_is_another_event(database: Database) -> None:
    assert append(database, run_event(), run_event() | {"source": "/airflow/other"}) == [1, 2]


def test_missing_tells_what_the_log_lacks(database: Database) -> None:
    append(database, run_event(run_id="known"))
    known = run_event(run_id="known")["id"]
    many = [f"task:{number}:failed" for number in range(1_200)]
    lacking = database.read_now(lambda c: event_log_read.missing(c, "/airflow/local", [known, *many]))
    assert lacking == set(many)


def test_a_rolled_back_append_leaves_no_hole(database: Database) -> None:
    class Undone(Exception):
        pass

    def broken(connection: Connection) -> None:
        event_log_append.append(connection, [parse_event(run_event(run_id="lost"))], NOW)
        raise Undone

    with pytest.raises(Undone):
        database.write_now(broken)
    assert append(database, run_event(run_id="kept")) == [1]


def test_concurrent_writers_and_a_reader_that_steps_over_nothing(database: Database) -> None:
    """Several threads append at once while one reads on after its cursor: it sees each seq, in order."""
    writers, each = 4, 25
    seen: list[int] = []

    def write(writer: int) -> None:
        for number in range(each):
            append(
                database,
                run_event(run_id=f"{writer}-{number}"),
                run_event("failed", run_id=f"{writer}-{number}"),
            )

    with ThreadPoolExecutor(writers) as pool:
        writing = [pool.submit(write, writer) for writer in range(writers)]
        while len(seen) < writers * each * 2:
            after = seen[-1] if seen else 0
            page = database.read_now(lambda c, after=after: event_log_read.read_after(c, after, 50))  # type: ignore[misc]
            seen += [event.seq for event in page.events]
            if all(done.done() for done in writing):
                for done in writing:
                    done.result()
    assert seen == list(range(1, writers * each * 2 + 1))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["run", "task", "asset", "other"]),
        ({"type": ["airflow.dag_run.*"]}, ["run", "other"]),
        ({"type": ["airflow.dag_run.*", "airflow.asset.updated"]}, ["run", "asset", "other"]),
        ({"dag_id": ["etl"]}, ["run", "task", "asset"]),
        ({"dag_id": ["et?", "o*r"]}, ["run", "task", "asset", "other"]),
        ({"dag_id": ["ETL"]}, []),
        ({"dag_id": ["[e]tl*"]}, []),
        ({"dag_id": ["%"]}, []),
        ({"dag_id": [".*"]}, []),
        ({"task_id": ["load"], "state": ["failed"]}, ["task"]),
        ({"state": ["success", "failed"], "dag_id": ["other"]}, ["other"]),
        ({"asset": ["file:///*"]}, ["asset"]),
        ({"deployment": ["elsewhere"]}, []),
    ],
)
def test_filters(database: Database, wanted: dict[str, list[str]], expected: list[str]) -> None:
    made = {
        "run": run_event(),
        "task": task_event("failed"),
        "asset": asset_event(1, source_task_id="train"),
        "other": run_event(dag_id="other"),
    }
    append(database, *made.values())
    found = ids(database, lambda c: event_log_read.read_after(c, 0, 10, Filter.from_values(**wanted)))
    assert found == [made[name]["id"] for name in expected]
    back = database.read_now(lambda c: event_log_read.read_before(c, None, 10, Filter.from_values(**wanted)))
    assert [json.loads(event.body)["id"] for event in back] == found[::-1]


def test_a_filtered_page_tells_how_far_it_looked(database: Database) -> None:
    append(database, *(run_event(run_id=str(number)) for number in range(10)), run_event(dag_id="rare"))
    append(database, *(run_event(run_id=str(number)) for number in range(10, 20)))
    rare = Filter.from_values(dag_id=["rare"])
    assert database.read_now(lambda c: event_log_read.read_after(c, 0, 5, rare)).upto == 21
    assert database.read_now(lambda c: event_log_read.read_after(c, 0, 1, rare)).upto == 11


def test_a_reader_sees_only_the_dags_it_may(database: Database) -> None:
    mine, theirs = run_event(dag_id="mine"), run_event(dag_id="theirs")
    asset = asset_event(1, source_dag_id="theirs")
    append(database, mine, theirs, asset, mine | {"source": "/airflow/other"})
    some = frozenset({("local", "mine")})
    assert ids(database, lambda c: event_log_read.read_after(c, 0, 10, allowed_dags=some)) == [mine["id"]]
    nothing: frozenset[tuple[str, str]] = frozenset()
    assert ids(database, lambda c: event_log_read.read_after(c, 0, 10, allowed_dags=nothing)) == []


def test_pruning_forgets_by_age_and_expires_cursors(database: Database) -> None:
    append(database, run_event(run_id="old"), run_event(run_id="older"), at=-100)
    append(database, run_event(run_id="new"))
    assert database.write_now(lambda c: event_log_append.prune(c, NOW - timedelta(seconds=50))) == 2
    assert database.write_now(lambda c: event_log_append.prune(c, NOW - timedelta(seconds=50))) == 0
    state = database.read_now(cursor.state)
    assert (state.pruned_seq, state.last_seq) == (2, 3)
    assert state.expiry_reason(Cursor(state.epoch, 2)) is None
    assert "older" in str(state.expiry_reason(Cursor(state.epoch, 1)))
    assert "ahead" in str(state.expiry_reason(Cursor(state.epoch, 4)))
    assert "epoch" in str(state.expiry_reason(Cursor("0123abcd", 2)))
    assert append(database, run_event(run_id="next")) == [4]


def test_numbers_are_never_used_again_after_everything_was_forgotten(database: Database) -> None:
    append(database, run_event(run_id="old"), at=-100)
    database.write_now(lambda c: event_log_append.prune(c, NOW))
    assert append(database, run_event(run_id="new")) == [2]


def test_since_a_moment(database: Database) -> None:
    append(database, run_event(run_id="before"), at=-10)
    append(database, run_event(run_id="after"), at=10)
    assert database.read_now(lambda c: event_log_read.seq_at(c, NOW)) == 1
    assert database.read_now(lambda c: event_log_read.seq_at(c, NOW - timedelta(days=1))) == 0


@pytest.mark.parametrize("text", ["", "1", "xyz-1", "abc-", "abc-1-2", "abc--1", "ABC-1", "abc-" + "9" * 30])
def test_a_malformed_cursor_is_refused_with_its_value(text: str) -> None:
    with pytest.raises(CursorError, match="cursor"):
        Cursor.parse(text)


def test_a_cursor_reads_back() -> None:
    assert Cursor.parse(str(Cursor("1a2b", 42))) == Cursor("1a2b", 42)


def test_reads_and_writes_do_not_block_the_loop(database: Database) -> None:
    event: Event = parse_event(run_event())

    async def both() -> tuple[list[int | None], int]:
        written = await database.write(lambda c: event_log_append.append(c, [event], NOW))
        return written, (await database.read(cursor.state)).last_seq

    assert asyncio.run(both()) == ([1], 1)


def test_types_by_glob_are_read_in_the_logs_order_either_way(database: Database) -> None:
    runs = [run_event(state, run_id=str(number)) for number in range(3) for state in ("running", "failed")]
    append(database, *(raw for run in runs for raw in (run, task_event())))
    wanted = Filter.from_values(type=["airflow.dag_run.*", "airflow.dag.paused"])

    def after(seq: int) -> tuple[list[int], int]:
        page = database.read_now(lambda c: event_log_read.read_after(c, seq, 4, wanted))
        return [event.seq for event in page.events], page.upto

    def before(seq: int | None) -> list[int]:
        return [
            event.seq for event in database.read_now(lambda c: event_log_read.read_before(c, seq, 4, wanted))
        ]

    assert after(0) == ([1, 3, 5, 7], 7)
    assert after(7) == ([9, 11], 12)
    assert before(None) == [11, 9, 7, 5]
    assert before(5) == [3, 1]
    nothing = Filter.from_values(type=["windsock.*"])
    assert database.read_now(lambda c: event_log_read.read_after(c, 0, 4, nothing)) == EventLogPage([], 12)


@pytest.mark.parametrize("wanted", [{}, {"type": ["airflow.*"]}], ids=["all", "by type"])
def test_long_events_make_short_pages_and_none_is_left_out(
    database: Database, wanted: dict[str, list[str]]
) -> None:
    long = "x" * (MAX_PAGE_BYTES // 4)
    append(database, *(run_event(run_id=str(number), message=long) for number in range(9)))
    asked = Filter.from_values(**wanted)
    newest: list[list[int]] = []
    before: int | None = None
    while not newest or before is not None:
        page, before = database.read_now(lambda c: event_log_read.read_page(c, before, 100, asked))  # noqa: B023
        newest.append([one.seq for one in page])
    assert newest == [[9, 8, 7, 6], [5, 4, 3, 2], [1]]
    oldest, after = [], 0
    while after < 9:
        found = database.read_now(
            lambda c: event_log_read.read_after(c, after, 100, asked, None, 2 * len(long))  # noqa: B023
        )
        oldest.append([one.seq for one in found.events])
        after = found.upto
    assert oldest == [[1, 2], [3, 4], [5, 6], [7, 8], [9]]
