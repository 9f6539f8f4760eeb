"""The natural-key recipe: one id for one change, whoever saw it, and another for every other change."""

import uuid
from dataclasses import replace
from datetime import timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from airflow_windsock import events as listener
from monitor.event_log.projections import import_errors
from monitor.events import identity
from monitor.events.from_airflow import import_error_mended_event, pause_event
from tests.identity.things import BROKEN, NOW, RUNS, TASKS, THINGS, ZONES, Broken, Run, Task, Thing


@given(THINGS, ZONES | st.none())
def test_hook_and_rest_give_the_same_id(thing: Thing, zone: timezone | None) -> None:
    hook, rest = thing.from_hook(zone), thing.from_rest()
    assert rest is not None
    assert (hook.source, hook.type) == (rest.source, rest.type)
    if isinstance(thing, Broken):  # REST has the bundle and the path within it, a hook the whole path
        assert identity.trace_of_error(hook.id) == identity.trace_of_error(rest.id)
        assert import_errors.may_be(hook.fields, rest.fields)
    else:
        assert (hook.id, hook.subject) == (rest.id, rest.subject)


@given(st.lists(RUNS, max_size=8) | st.lists(TASKS, max_size=8) | st.lists(BROKEN, max_size=8))
def test_other_changes_have_other_ids(things: list[Run] | list[Task] | list[Broken]) -> None:
    ids = {thing.key: thing.from_hook(timezone.utc).id for thing in things}
    assert len(set(ids.values())) == len(ids)


@given(RUNS, st.timedeltas(timedelta(microseconds=1), timedelta(days=400)))
def test_a_run_that_was_cleared_begins_as_another(run: Run, later: timedelta) -> None:
    anchor = run.start or run.queued
    if anchor is None:
        return
    again = replace(run, start=anchor + later)
    assert again.from_hook(None).id != run.from_hook(None).id


@given(TASKS, st.integers(-1, 5), st.uuids())
def test_a_task_is_known_by_its_try_alone(task: Task, map_index: int, other: uuid.UUID) -> None:
    """Its start differs from reporter to reporter, and its UUID is no other task's."""
    moved = replace(task, task_id="t", map_index=map_index, try_number=7, start=None)
    assert moved.from_hook(None).id == task.from_hook(None).id
    if other != task.ti_id:
        assert replace(task, ti_id=other).from_hook(None).id != task.from_hook(None).id


@given(THINGS, st.integers(2, 50), st.integers(2, 50))
def test_what_is_told_again_is_no_other_thing(thing: Thing, one: int, other: int) -> None:
    event = thing.from_hook(None)
    again = event.rename(identity.nth(event.id, one))
    assert again.id != event.id
    assert (again.id == identity.nth(event.id, other)) == (one == other)
    assert (again.data, again.type, again.time) == (event.data, event.type, event.time)


@given(BROKEN, st.integers(1, 50))
def test_the_end_of_an_error_is_no_error(broken: Broken, number: int) -> None:
    event = broken.from_hook(None)
    known = {"filename": broken.name, "bundle_name": None}
    mended = import_error_mended_event("local", event.id, known, None, NOW, number)
    assert mended.id.startswith(f"{event.id}:mended")
    assert mended.id != identity.nth(event.id, number)


@given(st.lists(RUNS.map(lambda run: run.dag_id), unique=True, min_size=2, max_size=5), st.integers(1, 3))
def test_each_dag_is_paused_for_itself(dags: list[str], number: int) -> None:
    rows = [{"dag_id": dag, "is_paused": paused} for dag in dags for paused in (True, False)]
    ids = {pause_event("local", row, NOW, number).id for row in rows}
    assert len(ids) == len(rows)


@given(st.lists(st.text(st.characters(codec=None)), min_size=1, max_size=4))
def test_listener_and_monitor_shorten_alike(parts: list[str]) -> None:
    """Also what no database takes, halves of surrogate pairs among it."""
    assert listener.digest(*parts) == identity.digest(*parts)
