"""The reconciler's builders against the golden files that the listener's builders are held to."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import EventError
from monitor.events import from_airflow
from monitor.events.data import MAX_TRACE
from monitor.events.from_airflow import Builder
from monitor.events.identity import nth

CONTRACT = Path(__file__).parents[2] / "contract"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=timezone.utc)
BUILDERS: dict[str, Builder] = {
    "airflow.dag_run": from_airflow.run_event,
    "airflow.task_instance": from_airflow.task_event,
    "airflow.asset": from_airflow.asset_event,
    "airflow.dag.import_error": from_airflow.import_error_event,
    "airflow.dag.paused": from_airflow.pause_event,
    "airflow.dag.unpaused": from_airflow.pause_event,
}

GOLDEN = {
    path.stem: golden
    for path in sorted(CONTRACT.glob("*.json"))
    if (golden := json.loads(path.read_text()))["rest"] is not None
}


def builder_of(golden: dict[str, Any]) -> Builder:
    kind = golden["event"]["type"]
    return BUILDERS[kind if kind in BUILDERS else kind.rpartition(".")[0]]


def build(golden: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    event = builder_of(golden)("local", row, NOW)
    assert event is not None
    body: dict[str, Any] = json.loads(event.body)
    return body


def test_there_are_golden_files_for_every_kind() -> None:
    assert {builder_of(golden) for golden in GOLDEN.values()} == set(BUILDERS.values())


@pytest.mark.parametrize("name", GOLDEN)
def test_event_equals_the_listeners_but_for_what_rest_does_not_know(name: str) -> None:
    golden = GOLDEN[name]
    expected = {**golden["event"], "data": {**golden["event"]["data"], **golden["rest_data"]}}
    made = build(golden, golden["rest"])
    expected["time"] = expected["time"] or golden["rest"].get("timestamp", "2026-11-22T12:00:00.000000Z")
    if golden["event"]["type"] == "airflow.dag.import_error":  # the file, as REST has it
        expected |= {"subject": golden["rest"]["filename"], "id": golden["rest_id"]}

    assert made == expected


def test_a_backfill_that_is_through() -> None:
    """One that an earlier backfill made and one of the schedule lie in its span, too."""
    golden = json.loads((CONTRACT / "backfill.completed.json").read_text())
    event = from_airflow.backfill_completed_event("local", golden["backfill"], golden["runs"])
    assert json.loads(event.body) == golden["event"]
    with pytest.raises(EventError, match="completed_at: null in a backfill of 'etl'"):
        from_airflow.backfill_completed_event("local", golden["backfill"] | {"completed_at": None}, [])


def test_a_try_that_airflow_has_filed() -> None:
    golden = json.loads((CONTRACT / "task_instance.up_for_retry.without_id.json").read_text())
    event = from_airflow.earlier_try_event("local", golden["tries"], NOW, None)
    assert event is not None
    assert json.loads(event.body) == golden["event"]
    known = from_airflow.earlier_try_event(
        "local", golden["tries"], NOW, "01936a5e-0000-7000-8000-000000000004"
    )
    assert known is not None
    assert known.id == "task:01936a5e-0000-7000-8000-000000000004:up_for_retry"
    assert from_airflow.earlier_try_event("local", {**golden["tries"], "state": "running"}, NOW, None) is None
    with pytest.raises(EventError, match="try_number: '1' is not a whole number"):
        from_airflow.earlier_try_event("local", {**golden["tries"], "try_number": "1"}, NOW, None)


@pytest.mark.parametrize(
    "state", ["queued", "scheduled", "deferred", "up_for_reschedule", "restarting", None]
)
def test_states_that_are_no_event_give_none(state: str | None) -> None:
    run, task = GOLDEN["dag_run.running"]["rest"], GOLDEN["task_instance.running"]["rest"]

    assert from_airflow.run_event("local", {**run, "state": state}, NOW) is None
    assert from_airflow.task_event("local", {**task, "state": state}, NOW) is None


def test_times_are_written_with_six_digits_as_identity_needs_them() -> None:
    golden = GOLDEN["dag_run.running"]
    row = {**golden["rest"], "start_date": "2026-11-22T10:00:01Z"}  # Airflow leaves out microseconds of zero

    assert build(golden, row)["id"] == golden["event"]["id"]


def test_a_change_without_a_time_is_dated_by_the_moment_of_building() -> None:
    golden = GOLDEN["task_instance.upstream_failed"]

    event = build(golden, {**golden["rest"], "start_date": None, "end_date": None})

    assert event["time"] == "2026-11-22T12:00:00.000000Z"
    assert event["data"]["end_date"] is None


@pytest.mark.parametrize(
    ("golden", "change", "named"),
    [
        ("dag_run.failed", {"dag_id": None}, "dag_id"),
        ("dag_run.failed", {"end_date": "yesterday"}, "end_date: 'yesterday'"),
        ("dag_run.failed", {"end_date": "2026-11-22T10:00:01"}, "no time zone"),
        ("task_instance.failed", {"id": 5}, "id: 5"),
        ("task_instance.failed", {"try_number": None}, "data.try_number"),
        ("asset.updated", {"id": "42"}, "id: '42'"),
        ("asset.updated", {"created_dagruns": "release"}, "created_dagruns"),
        ("asset.updated", {"uri": ""}, "uri"),
        ("dag.import_error.new", {"stack_trace": None}, "stack_trace: None"),
        ("dag.import_error.new", {"filename": ""}, "filename"),
        ("dag.import_error.new", {"bundle_name": 5}, "data.bundle_name"),
        ("dag.paused", {"is_paused": "yes"}, "is_paused: 'yes'"),
        ("dag.paused", {"dag_id": None}, "dag_id"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused_with_the_field(
    golden: str, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(EventError, match=named):
        build(GOLDEN[golden], {**GOLDEN[golden]["rest"], **change})


def test_an_asset_event_without_extra_or_source_is_one() -> None:
    golden = GOLDEN["asset.updated"]
    row = {**golden["rest"], "extra": None, "source_dag_id": None, "created_dagruns": []}

    data = build(golden, row)["data"]

    assert (data["extra"], data["source_dag_id"], data["created_dagruns"]) == ({}, None, [])


def nested(levels: int) -> dict[str, Any]:
    return {"a": nested(levels - 1)} if levels else {}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"a": "x" * 12_000_000}, "12000008 bytes"),
        (nested(40), "levels deep"),
        ({"a": float("nan")}, "numbers or characters"),
        ({"a": "\ud800"}, "numbers or characters"),
    ],
)
def test_an_extra_that_is_too_much_is_left_out_and_said(extra: dict[str, Any], said: str) -> None:
    golden = GOLDEN["asset.updated"]
    made = build(golden, {**golden["rest"], "extra": extra})["data"]["extra"]
    assert list(made) == [from_airflow.OMITTED]
    assert said in made[from_airflow.OMITTED]


@pytest.mark.parametrize(
    "extra", [{"a": "x" * (from_airflow.MAX_EXTRA - 8)}, nested(from_airflow.MAX_EXTRA_DEPTH - 1)]
)
def test_an_extra_at_its_bound_is_kept(extra: dict[str, Any]) -> None:
    golden = GOLDEN["asset.updated"]
    assert build(golden, {**golden["rest"], "extra": extra})["data"]["extra"] == extra


def test_the_end_of_an_import_error_is_the_golden_event() -> None:
    golden = json.loads((CONTRACT / "dag.import_error_mended.json").read_text())
    board = golden["board"]

    event = from_airflow.import_error_mended_event("local", board["error_id"], board, None, NOW)

    assert json.loads(event.body) == {**golden["event"], "time": "2026-11-22T12:00:00.000000Z"}


def test_a_run_that_was_deleted_is_the_golden_event() -> None:
    golden = json.loads((CONTRACT / "dag_run.deleted.json").read_text())
    board = {
        name: datetime.fromisoformat(value.replace("Z", "+00:00"))
        if value and name in from_airflow.RUN_TIMES
        else value
        for name, value in golden["board"].items()
    }

    event = from_airflow.run_deleted_event("local", board, NOW)

    assert json.loads(event.body) == {**golden["event"], "time": "2026-11-22T12:00:00.000000Z"}


def test_what_comes_again_has_the_next_number_and_is_else_the_same() -> None:
    error, pause = GOLDEN["dag.import_error.new"], GOLDEN["dag.paused"]
    again = from_airflow.import_error_event("local", error["rest"], NOW, 2)
    paused = from_airflow.pause_event("local", pause["rest"], NOW, 3)
    board = {"filename": "a.py", "bundle_name": None}

    mended = from_airflow.import_error_mended_event("local", error["event"]["id"], board, None, NOW, 2)

    assert (again.id, again.get("error_id")) == (nth(error["rest_id"], 2), error["rest_id"])
    assert json.loads(again.body) == build(error, error["rest"]) | {"id": again.id}
    assert mended.id == error["event"]["id"] + ":mended:2"
    assert paused.id == pause["event"]["id"] + ":3"


def test_a_long_trace_is_told_by_its_end_and_known_by_the_whole() -> None:
    row = {**GOLDEN["dag.import_error.new"]["rest"], "stack_trace": "x" * MAX_TRACE + "1"}

    one, other = (
        from_airflow.import_error_event("local", {**row, "stack_trace": first + row["stack_trace"]}, NOW)
        for first in "ab"
    )

    assert one.get("stacktrace") == other.get("stacktrace") == "…" + "x" * (MAX_TRACE - 2) + "1"
    assert one.id != other.id


def test_a_hidden_trace_is_told_apart() -> None:
    row = GOLDEN["dag.import_error.new"]["rest"]
    hidden = "REDACTED - you do not have read permission on all Dags in the file"

    assert not from_airflow.is_redacted(row)
    assert from_airflow.is_redacted({**row, "stack_trace": hidden})
