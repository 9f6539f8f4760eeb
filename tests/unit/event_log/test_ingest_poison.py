"""Events whose undeclared fields are no values of a column, a page or a feed: they harm nobody."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from monitor.database.engine import Database
from monitor.event_log.ingest_queue import IngestOutcome
from monitor.events.event import MAX_DEPTH, parse_event
from tests.sample import asset_event, event, moment, run_event, task_event
from tests.unit.conftest import FakeClock, Live
from tests.unit.event_log.test_ingest import opened

ODD: tuple[Any, ...] = ({"a": 1}, ["a"], 5, True, 1.5, 10**30, "x" * 5000, "x\0y", "text", None, [{"b": [2]}])
NAMES = (
    *("dag_id", "run_id", "task_id", "state", "map_index", "try_number", "error", "extra", "message"),
    *("source_dag_id", "source_run_id", "asset", "created_dagruns", "replaced_by", "stacktrace", "run_type"),
)
PAGES = (
    *("/", "/events/list", "/runs", "/assets", "/incidents", "/mail", "/silences", "/status?dag_id=etl"),
    *("/api?dag_id=etl", "/api/v1/events?limit=500", "/api/v1/runs?limit=500", "/api/v1/assets?limit=500"),
    *("/runs/local/etl/manual__1", "/api/v1/incidents", "/api/v1/deliveries", "/health"),
)


def poisoned() -> Iterator[dict[str, Any]]:
    """Give an event of each shape with each odd value under each name that its type does not declare."""
    for number, value in enumerate(ODD):
        for made in (
            event(
                "airflow.dag.import_error",
                f"import_error:{number}",
                "/dags/x.py",
                moment(),
                {"filename": "/dags/x.py", "stacktrace": f"boom {number}"},
            ),
            run_event("failed", run_id=f"run {number}"),
            task_event("failed", run_id="manual__1"),
            asset_event(number + 1),
        ):
            declared = type(parse_event(made).data).model_fields
            made["data"].update({name: value for name in NAMES if name not in declared})
            yield made


def test_no_page_fails_on_what_a_sender_adds(live: Live) -> None:
    live.post([run_event("running")])
    results = live.post(list(poisoned())).json()["results"]
    assert {result["status"] for result in results} == {"accepted"}
    assert {path: live.client.get(path).status_code for path in PAGES} == dict.fromkeys(PAGES, 200)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("created_dagruns", [{"dag_id": {"a": 1}, "run_id": "x"}]),
        ("created_dagruns", [{"dag_id": "etl"}]),
        ("created_dagruns", [{"dag_id": "etl", "run_id": "x"}] * 1001),
        ("extra", ["a"]),
        ("source_dag_id", {"x": 1}),
    ],
)
def test_a_declared_field_of_another_shape_is_refused_by_name(live: Live, field: str, value: Any) -> None:
    [result] = live.post([asset_event(1, **{field: value})]).json()["results"]
    assert result["status"] == "rejected"
    assert f"data.{field}" in result["reason"]


@pytest.mark.parametrize(
    ("levels", "status"), [(MAX_DEPTH - 4, "accepted"), (MAX_DEPTH, "rejected"), (400, "rejected")]
)
def test_nesting_is_bounded(live: Live, levels: int, status: str) -> None:
    deep: Any = 1
    for _ in range(levels):
        deep = [deep]
    [result] = live.post([asset_event(1, extra={"deep": deep})]).json()["results"]
    assert result["status"] == status
    assert live.client.get("/assets").status_code == 200


def test_an_event_that_the_database_refuses_stops_no_other(database: Database, clock: FakeClock) -> None:
    good, other = parse_event(run_event(run_id="a")), parse_event(run_event(run_id="b"))
    bad = replace(parse_event(run_event(run_id="c")), subject="\ud800")  # no database has half a character

    async def story() -> None:
        async with opened(database, clock) as door:
            # Both wait before the writer's first turn, so they share its transaction.
            requests = door.ingest.submit([good]), door.ingest.submit([bad, other])
            alone, mixed = await asyncio.gather(*requests)
            assert alone == [IngestOutcome.ACCEPTED]
            assert mixed == [IngestOutcome.REJECTED, IngestOutcome.ACCEPTED]
            assert await door.ingest.take([good, other]) == [False, False]

    asyncio.run(story())
