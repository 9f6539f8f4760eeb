"""The monitor reads what the contract says, and the natural-key recipe is injective and stable."""

import json
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.errors import EventError
from monitor.events import parse_event, run_id_of, stamp
from monitor.events.identity import digest, import_error_id, task_id_of
from monitor.events.model import DATA, DagRunData, TaskInstanceData
from tests.sample import moment, run_event

GOLDEN = sorted((Path(__file__).parent.parent / "contract").glob("*.json"))
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
            assert parsed.id == task_id_of(task.ti_id, task.state)
    if parsed.type == "airflow.dag.import_error":
        assert parsed.id == import_error_id(data["filename"], data["stacktrace"])


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_no_json_value_does_more_than_be_refused(value: Any) -> None:
    with pytest.raises(EventError):
        parse_event(value)


@given(st.sampled_from(sorted(run_event())), JSON)
def test_no_attribute_does_more_than_be_refused(name: str, value: Any) -> None:
    with suppress(EventError):
        parse_event(run_event() | {name: value})


@given(st.sampled_from(sorted(run_event()["data"])), JSON)
def test_no_field_does_more_than_be_refused(name: str, value: Any) -> None:
    event = run_event()
    event["data"][name] = value
    with suppress(EventError):
        parse_event(event)
