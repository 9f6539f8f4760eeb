"""The monitor reads what the contract says, and the natural-key recipe is injective and stable."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from monitor.database.engine import Database
from monitor.errors import EventError
from monitor.event_log.append import append
from monitor.event_log.projections.apply import apply
from monitor.events.data import DATA, MAX_KEY, MAX_TI_ID, DagRunData, TaskInstanceData
from monitor.events.event import parse_event
from monitor.events.identity import digest, earlier_try_id_of, import_error_id, run_id_of, stamp, task_id_of
from tests.sample import asset_event, moment, run_event, task_event
from tests.unit.conftest import NOW

GOLDEN = sorted((Path(__file__).parents[2] / "contract").glob("*.json"))
TOLD = [json.loads(path.read_text())["event"] for path in GOLDEN]
NAMES = st.text(min_size=1, max_size=60)
MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001


def whole(event: dict[str, Any]) -> dict[str, Any]:
    """A golden event with what golden files leave open filled in."""
    return event | {"id": event["id"] or "nudge:1", "time": event["time"] or moment()}


@pytest.mark.parametrize("event", TOLD, ids=[path.stem for path in GOLDEN])
def test_every_golden_event_is_read(event: dict[str, Any]) -> None:
    parsed = parse_event(whole(event))
    assert parsed.type == event["type"]
    assert json.loads(parsed.body) == whole(event)


def test_there_is_a_golden_event_of_each_type() -> None:
    assert {event["type"] for event in TOLD} == set(DATA)


@pytest.mark.parametrize("event", TOLD, ids=[path.stem for path in GOLDEN])
def test_golden_ids_follow_the_recipe(event: dict[str, Any]) -> None:
    parsed, data = parse_event(whole(event)), event["data"]
    match parsed.data:
        case DagRunData() as run:
            assert parsed.id == run_id_of(run.dag_id, run.run_id, run.start_date, run.queued_at, run.state)
        case TaskInstanceData() as task:
            names = (task.dag_id, task.run_id, task.task_id, task.map_index, task.try_number, task.state)
            named = task_id_of(task.ti_id, task.state) if task.ti_id else earlier_try_id_of(*names)
            assert parsed.id == named
    if parsed.type == "airflow.dag.import_error":
        assert parsed.id == import_error_id(data["filename"], data["stacktrace"])


@pytest.mark.parametrize(
    ("event_id", "ti_id"), [("task:1:failed", None), ("try:ab:failed", "1"), ("ab:failed", None)]
)
def test_a_try_without_its_uuid_has_an_id_of_its_own_kind(event_id: str, ti_id: str | None) -> None:
    event = task_event("failed")
    event["id"], event["data"]["ti_id"] = event_id, ti_id
    with pytest.raises(EventError, match=r"data\.ti_id: .* does not fit the id"):
        parse_event(event)


@given(NAMES, NAMES, MOMENTS, st.sampled_from(["success", "failed"]))
def test_another_occurrence_of_a_run_is_another_event(
    dag: str, run: str, start: datetime, state: str
) -> None:
    first = run_id_of(dag, run, start, None, state)
    assert first == run_id_of(dag, run, start.astimezone(timezone(timedelta(hours=9))), None, state)
    assert first != run_id_of(dag, run, start + timedelta(microseconds=1), None, state)
    assert first != run_id_of(dag, run, None, None, state)


@given(st.lists(NAMES, min_size=1, max_size=4), st.lists(NAMES, min_size=1, max_size=4))
def test_the_digest_keeps_its_parts_apart(one: list[str], other: list[str]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


@given(MOMENTS)
def test_a_stamp_is_exact(at: datetime) -> None:
    assert datetime.fromisoformat(stamp(at).replace("Z", "+00:00")) == at


SURROGATES = st.text(st.characters(codec=None), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | SURROGATES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
NEARLY = st.sampled_from(
    [
        "\0",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        2**40,
        -(2**70),
        1e400,
        "\ud800",
        "",
        "x" * 251,
        "x" * 1501,
    ]
)
FIELDS = [("run", name) for name in run_event()["data"]] + [("task", name) for name in task_event()["data"]]
FIELDS += [("asset", name) for name in asset_event(1)["data"]]


@pytest.mark.parametrize(
    ("field", "most"), [("dag_id", MAX_KEY), ("run_id", MAX_KEY), ("task_id", MAX_KEY), ("ti_id", MAX_TI_ID)]
)
def test_a_long_name_is_refused(field: str, most: int) -> None:
    parse_event(task_event(**{field: "x" * most}) | {"id": "task:x"})
    with pytest.raises(EventError, match=f"data.{field}: .*at most {most}"):
        parse_event(task_event(**{field: "x" * (most + 1)}) | {"id": "task:x"})


@given(JSON)
def test_no_json_value_does_more_than_be_refused(value: Any) -> None:
    with pytest.raises(EventError):
        parse_event(value)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(FIELDS) | st.tuples(st.just("envelope"), st.sampled_from(sorted(run_event()))),
    JSON | NEARLY,
)
def test_what_is_read_can_be_kept(database: Database, field: tuple[str, str], value: Any) -> None:
    """No value in any field does more than be refused: what stopped a transaction would stop it forever."""
    where, name = field
    event = {"run": run_event(), "task": task_event(), "asset": asset_event(1)}.get(where) or run_event()
    (event if where == "envelope" else event["data"])[name] = value
    try:
        parsed = parse_event(event)
    except EventError:
        return

    def keep(connection: Connection) -> None:
        (seq,) = append(connection, [parsed], NOW)
        assert seq is not None
        apply(connection, seq, parsed)
        raise Kept

    with pytest.raises(Kept):
        database.write_now(keep)


class Kept(Exception):
    """Everything was written; roll it back for the next example."""
