"""Who takes the id of another task's event beforehand hides nothing."""

import json
from typing import Any

import pytest

from monitor import event_log
from monitor.database import Database
from monitor.events import parse_event
from tests.monitor.conftest import NOW
from tests.sample import asset_event, event, moment, run_event, task_event

TI = "00000000-0000-7000-8000-000000000001"
TRUE = task_event("failed", ti_id=TI, map_index=3)


def taken(database: Database, raw: dict[str, Any]) -> str | None:
    """The id under which an event is logged, as ingest does it; None where it is known."""
    one = parse_event(raw)

    def write(connection: Any) -> str | None:
        if event_log.append(connection, [one], NOW)[0] is not None:
            return one.id
        [apart] = event_log.namesakes(connection, [one])
        if apart is None or event_log.append(connection, [apart], NOW)[0] is None:
            return None
        return apart.id

    return database.write_now(write)


def lacking(database: Database, raw: dict[str, Any]) -> set[str]:
    return database.read_now(lambda c: event_log.lacking(c, [parse_event(raw)]))


def of_another_type(event_id: str) -> dict[str, Any]:
    """As it could be logged once: an import error kept the id that its sender gave it."""
    data = {"filename": "/dags/x.py", "bundle_name": None, "stacktrace": "boom", "error_id": event_id}
    return event("airflow.dag.import_error", event_id, "/dags/x.py", moment(), data)


@pytest.mark.parametrize(
    ("true", "forged"),
    [
        (TRUE, task_event("failed", ti_id=TI, dag_id="other")),
        (TRUE, task_event("failed", ti_id=TI, run_id="other", map_index=3)),
        (TRUE, task_event("failed", ti_id=TI, task_id="other", map_index=3)),
        (TRUE, task_event("failed", ti_id=TI, map_index=4)),
        (TRUE, task_event("failed", ti_id=TI, map_index=3, try_number=2)),
        (run_event("failed"), of_another_type(run_event("failed")["id"])),
        (asset_event(7), of_another_type("asset_event:7")),
        (asset_event(7), asset_event(7, uri="s3://other")),
        (asset_event(7), asset_event(7, source_dag_id="other")),
    ],
)
def test_the_true_event_is_logged_once_beside_the_forged(
    database: Database, true: dict[str, Any], forged: dict[str, Any]
) -> None:
    assert taken(database, forged) == true["id"]
    assert lacking(database, true) == {true["id"]}

    own = taken(database, true)

    assert own is not None
    assert own.startswith(f"{true['id']}:")
    assert lacking(database, true) == set()
    assert [taken(database, one) for one in (true, forged)] == [None, None]
    page = database.read_now(lambda c: event_log.read_after(c, 0, 10))
    assert [json.loads(one.body)["id"] for one in page.events] == [true["id"], own]


@pytest.mark.parametrize("state", ["running", "up_for_retry"])
def test_a_try_is_the_same_under_airflows_next_number(database: Database, state: str) -> None:
    one, next_number = (task_event(state, ti_id=TI, try_number=number) for number in (1, 2))
    assert taken(database, one) == one["id"]
    assert lacking(database, next_number) == set()
    assert taken(database, next_number) is None


@pytest.mark.parametrize("raw", [TRUE, run_event("failed"), asset_event(7)])
def test_the_same_event_is_told_once(database: Database, raw: dict[str, Any]) -> None:
    assert lacking(database, raw) == {raw["id"]}
    assert taken(database, raw) == raw["id"]
    assert lacking(database, raw) == set()
    told_otherwise = {**raw, "data": {**raw["data"], "reported_by": "reconciler"}}
    assert taken(database, told_otherwise) is None
