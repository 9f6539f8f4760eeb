"""A monitor of this release and the requests of other releases: every older one's, and a future one's."""

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from airflow_windsock.sender import PROBLEM, REFUSALS
from monitor.settings import Settings
from monitor.web.api.ingest import MAX_BODY
from monitor.web.api.ingest_models import MAX_BATCH
from tests.monitor_process import REPOSITORY
from tests.unit.conftest import sign
from tests.unit.web_support import Served, serving
from tests.versions.old import logged_as

WIRE = sorted((REPOSITORY / "tests/versions/wire").glob("*.json"))
TODAY = json.loads(WIRE[-1].read_text())
"""The newest wire version's."""


def metric(monitor: Served, name: str) -> float:
    families = text_string_to_metric_families(monitor.client.get("/metrics").text)
    return sum(one.value for family in families for one in family.samples if one.name == name)


def told(monitor: Served) -> dict[str, Any]:
    rows = monitor.client.get("/api/v1/events", params={"limit": 200}).json()["events"]
    return {row["event"]["id"]: row["event"] for row in rows}


@pytest.mark.parametrize("wire", WIRE, ids=lambda path: path.stem)
def test_every_older_plugins_request_is_taken_whole(settings: Settings, wire: Any) -> None:
    events = json.loads(wire.read_text())
    with serving(settings) as monitor:
        answer = monitor.post(events).json()
        assert answer["rejected"] == 0, answer
        lasting = {logged_as(event) for event in events if event["type"] != "windsock.asset.nudge"}
        assert set(told(monitor)) == lasting
        again = monitor.post(events).json()
        assert again["rejected"] == 0


def test_fields_that_only_a_future_plugin_knows_are_kept_and_told(settings: Settings) -> None:
    future = [
        {**event, "futureattribute": "x", "data": {**event["data"], "future": {"deep": [1, None]}}}
        for event in TODAY
    ]
    with serving(settings) as monitor:
        answer = monitor.post(future).json()
        assert answer["rejected"] == 0, answer
        for event in told(monitor).values():
            assert event["futureattribute"] == "x"
            assert event["data"]["future"] == {"deep": [1, None]}


def test_a_type_that_only_a_future_plugin_knows_is_rejected_alone_and_says_why(settings: Settings) -> None:
    """Its sender keeps it in bad/ (docs/runbooks/WindsockEventsRejected.md); the others are taken."""
    run = next(event for event in TODAY if event["type"] == "airflow.dag_run.failed")
    future = {**run, "id": "run:future:paused", "type": "airflow.dag_run.hibernated"}
    with serving(settings) as monitor:
        answer = monitor.post([future, run]).json()
        assert [one["status"] for one in answer["results"]] == ["rejected", "accepted"]
        assert "a newer plugin needs a newer monitor" in answer["results"][0]["reason"]
        assert metric(monitor, "windsock_events_total") == 2


WHOLE: list[tuple[str, int]] = [
    ("no JSON", 400),
    ("7", 400),
    (f"[{'1,' * MAX_BATCH}1]", 413),
    (f"[{' ' * MAX_BODY}]", 413),
]


@pytest.mark.parametrize("prefix", ["", "/wind"])
def test_the_plugin_knows_the_monitors_own_refusals(settings: Settings, prefix: str) -> None:
    """It sets an event aside for no other: types and content type are a contract with older plugins."""
    settings = settings.model_copy(update={"public_url": f"http://windsock.example.com{prefix}"})
    secret = settings.ingest_secret[0].get_secret_value()
    with serving(settings) as monitor:
        for body, status in WHOLE:
            headers = {**sign(secret, body), "Content-Type": "application/cloudevents-batch+json"}
            answer = monitor.client.post("/api/v1/events", content=body, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
            assert answer.json()["type"] == f"{prefix}/docs{REFUSALS[status]}"


WRONG = [
    "",
    "00-xyz",
    "00-" + "0" * 32 + "-" + "1" * 16 + "-01",
    "ff-" + "1" * 32 + "-" + "1" * 16 + "-01",
    7,
    None,
    "\n",
]


def test_a_wrong_traceparent_is_ignored_and_counted(settings: Settings) -> None:
    events = [{**event, "traceparent": wrong} for event, wrong in zip(TODAY, WRONG, strict=False)]
    with serving(settings) as monitor:
        assert monitor.post(events).json()["rejected"] == 0
        assert metric(monitor, "windsock_traceparents_ignored_total") == len(events)
