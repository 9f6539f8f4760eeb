"""The JSON API against a real server: pages, one run, deliveries, problems, and its description."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry
from referencing.jsonschema import DRAFT202012
from sqlalchemy import Connection

from monitor.app import create_app
from monitor.clock import utc_now
from monitor.database.schema import delivery_attempts
from monitor.events.event import parse_event
from monitor.notifications.outbox.queue import MOST_RESENDS, REQUEUED
from monitor.settings import Settings
from monitor.web.problems import KINDS
from tests import wait
from tests.sample import asset_event, moment, run_event, task_event
from tests.unit.conftest import sign
from tests.unit.web_support import Served, serving

CONTRACT = Path(__file__).parents[3] / "contract"


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        yield monitor


def get(monitor: Served, path: str) -> Any:
    answer = monitor.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def every_page(monitor: Served, path: str, key: str) -> list[Any]:
    """Follow `next` to the end, two rows a page."""
    rows, cursor = [], ""
    while True:
        page = get(monitor, f"{path}?limit=2{cursor}")
        rows += page[key]
        if page["next"] is None:
            return rows
        cursor = f"&cursor={page['next']}"


def test_pages_are_newest_first_and_hold_each_row_once(monitor: Served) -> None:
    names = [f"run_{number}" for number in range(5)]
    monitor.post([run_event(run_id=name) for name in names])
    monitor.post([asset_event(number, f"file:///{number}") for number in range(5)])
    newest_first = list(reversed(names))
    assert [row["run_id"] for row in every_page(monitor, "/api/v1/runs", "runs")] == newest_first
    events = every_page(monitor, "/api/v1/events", "events")
    assert [row["seq"] for row in events] == list(range(10, 0, -1))
    assert [row["event"]["data"]["run_id"] for row in events[5:]] == newest_first
    assets = every_page(monitor, "/api/v1/assets", "assets")
    assert [row["uri"] for row in assets] == [f"file:///{number}" for number in range(4, -1, -1)]


def test_deliveries_are_paged_too(monitor: Served) -> None:
    monitor.post([run_event("failed", dag_id=f"dag_{number}") for number in range(5)])
    rows = every_page(monitor, "/api/v1/deliveries", "deliveries")
    assert [row["dag_id"] for row in rows] == [f"dag_{number}" for number in range(4, -1, -1)]
    assert get(monitor, "/api/v1/deliveries?dag_id=other")["deliveries"] == []


@pytest.mark.parametrize(
    "run_id",
    ["manual__2026-11-22T10:00:00+00:00", "with/slash", "a b&c?d#e%f", "ünï", "..", "a//b", "x/y/../z"],
)
def test_a_run_whatever_its_id(monitor: Served, run_id: str) -> None:
    monitor.post([task_event("failed", run_id=run_id, error={"message": "no"})])
    monitor.post([run_event("failed", run_id=run_id)])
    path = f"/api/v1/runs/etl/{quote(run_id, safe='').replace('.', '%2E')}"
    found = get(monitor, path)
    assert (found["run_id"], found["state"]) == (run_id, "failed")
    assert [(task["task_id"], task["error"]["message"]) for task in found["tasks"]] == [("load", "no")]
    assert [delivery["run_id"] for delivery in found["deliveries"]] == [run_id]
    assert found["tasks"] == get(monitor, f"{path}?deployment=local")["tasks"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/v1/runs/etl/unknown", 404, "'unknown'"),
        ("/api/v1/runs/etl/manual__1?deployment=other", 404, "'other'"),
        ("/api/v1/runs/etl/%00", 422, "NUL"),
        ("/api/v1/deliveries/9", 404, "9"),
        ("/api/v1/deliveries/x", 422, "delivery_id"),
        ("/api/v1/deliveries/99999999999999999999", 422, "delivery_id"),
        ("/api/v1/deliveries?state=lost", 422, "state"),
        ("/api/v1/runs?limit=501", 422, "limit"),
        ("/api/v1/runs?limit=0", 422, "limit"),
        ("/api/v1/runs?cursor=abc", 422, "cursor"),
        ("/api/v1/runs?stat=failed", 422, "stat"),
        ("/api/v1/assets?dag_id=etl", 422, "dag_id"),
        ("/api?dag=etl", 422, "dag"),
        ("/api/v1/deliveries?since=yesterday", 422, "since"),
        ("/api/v1/incidents/9", 404, "9"),
        ("/api/v1/silences/9", 404, "9"),
        ("/api/v1/events/run:x/decisions", 404, "'run:x'"),
        ("/api/v1/nothing", 404, "Not Found"),
    ],
)
def test_problems_name_what_is_wrong(monitor: Served, path: str, status: int, words: str) -> None:
    monitor.post([run_event()])
    answer = monitor.client.get(path, headers={"Accept": "text/html,*/*"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "request_id"}
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert ("errors" in problem) == (status == 422)
    assert problem["status"] == status
    assert words in problem["detail"]


def test_a_wrong_method_is_a_problem_too(monitor: Served) -> None:
    answer = monitor.client.delete("/api/v1/runs")
    assert (answer.status_code, answer.json()["status"]) == (405, 405)


def sent(monitor: Served) -> Any:
    (row,) = get(monitor, "/api/v1/deliveries")["deliveries"]
    return row if row["state"] == "sent" else None


def test_sending_again(monitor: Served) -> None:
    monitor.post([run_event("failed")])
    first = wait.until(lambda: sent(monitor), "the mail to be sent")
    answer = monitor.client.post(f"/api/v1/deliveries/{first['id']}/resend")
    assert answer.status_code == 202
    mailbox = monitor.app.state.services.mailbox
    wait.until(lambda: len(mailbox.mails(10)) == 2, "the second mail")
    wait.until(lambda: sent(monitor), "the mail to be sent again")
    detail = get(monitor, f"/api/v1/deliveries/{first['id']}")
    assert detail["message_id"] == first["message_id"]
    assert len(detail["ledger"]) >= 3
    assert monitor.client.post("/api/v1/deliveries/99/resend").status_code == 404


def test_a_mail_is_sent_again_so_many_times_a_day(monitor: Served) -> None:
    monitor.post([run_event("failed")])
    first = wait.until(lambda: sent(monitor), "the mail to be sent")
    database = monitor.app.state.services.database

    def note(connection: Connection) -> None:
        asked = {"delivery_id": first["id"], "at": utc_now(), "outcome": REQUEUED, "answer": "was sent"}
        connection.execute(delivery_attempts.insert(), [asked] * MOST_RESENDS)

    database.write_now(note)
    answer = monitor.client.post(f"/api/v1/deliveries/{first['id']}/resend")
    assert answer.status_code == 409
    assert f"sent again {MOST_RESENDS} times" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_foreign_page_can_cause_nothing(monitor: Served, headers: dict[str, str]) -> None:
    monitor.post([run_event("failed")])
    wait.until(lambda: sent(monitor), "the mail to be sent")
    assert monitor.client.post("/api/v1/deliveries/1/resend", headers=headers).status_code == 403
    assert sent(monitor)


def test_a_foreign_name_for_the_loopback_address_is_refused(monitor: Served) -> None:
    """DNS rebinding: without sign-in the Host is what tells our pages from a stranger's."""
    for path in ("/", "/api/v1/runs", "/events", "/openapi.json"):
        answer = monitor.client.get(path, headers={"Host": "evil.example:80"})
        assert answer.status_code == 421
        assert "WINDSOCK_PUBLIC_URL" in answer.json()["detail"]
    assert monitor.client.get("/livez", headers={"Host": "10.0.0.7"}).status_code == 200
    assert (
        monitor.client.get("/api/v1/runs", headers={"Host": f"localhost:{monitor.port}"}).status_code == 200
    )


def test_the_status_as_json(monitor: Served) -> None:
    assert get(monitor, "/api") == {"dag_id": "Airflow_Lab2", "run": None, "metrics": {}, "running": None}
    monitor.post([asset_event(1, source_dag_id="Airflow_Lab2"), run_event("success", "Airflow_Lab2")])
    monitor.post([run_event("running", "Airflow_Lab2", run_id="next", start=100)])
    told = get(monitor, "/api")
    assert (told["run"]["run_id"], told["run"]["state"], told["running"]) == ("manual__1", "success", "next")
    assert told["metrics"] == {"model.pkl": {"accuracy": 0.97}}
    assert get(monitor, "/api?dag_id=etl")["run"] is None


def test_the_description_is_made_once(monitor: Served) -> None:
    """Anybody may ask for it, and everybody else waits while it is made."""
    paths = ("/openapi.json", "/docs")
    before = [monitor.client.get(path).text for path in paths]
    monitor.app.openapi_schema = {"info": {}, "paths": {}}
    assert [monitor.client.get(path).text for path in paths] == before


def test_openapi_is_valid_and_tells_of_every_endpoint(monitor: Served) -> None:
    openapi = get(monitor, "/openapi.json")
    validate(openapi)
    paths = {
        "/events",
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/api",
        "/api/v1/events",
        "/api/v1/runs",
        "/api/v1/runs/{dag_id}/{run_id}",
        "/api/v1/assets",
        "/api/v1/deliveries",
        "/api/v1/deliveries/{delivery_id}",
        "/api/v1/deliveries/{delivery_id}/resend",
        "/api/v1/events/{event_id}/decisions",
        "/api/v1/incidents",
        "/api/v1/incidents/{incident_id}",
        "/api/v1/incidents/{incident_id}/acknowledgement",
        "/api/v1/incidents/{incident_id}/close",
        "/api/v1/silences",
        "/api/v1/silences/{silence_id}",
    }
    assert paths <= set(openapi["paths"])
    assert {"get", "post"} <= set(openapi["paths"]["/api/v1/events"])
    assert {"post", "delete"} <= set(openapi["paths"]["/api/v1/incidents/{incident_id}/acknowledgement"])
    schemas = openapi["components"]["schemas"]
    for name in (
        "IncidentResponse",
        "SilenceResponse",
        "DecisionResponse",
        "NewSilence",
        "Acknowledgement",
        "IncidentCloseBody",
    ):
        assert schemas[name]["examples"], name
    page = monitor.client.get("/docs").text
    assert all(path in page for path in paths)
    assert all(f'id="problem-{kind.name}"' in page for kind in KINDS)
    assert page.count("<details><summary>Example") > len(paths)


def told_operations(openapi: Any) -> list[Any]:
    return [operation for path in openapi["paths"].values() for operation in path.values()]


def test_openapi_leaves_nothing_untold(monitor: Served) -> None:
    openapi = get(monitor, "/openapi.json")
    tags = {tag["name"] for tag in openapi["tags"] if tag["description"]}
    schemas = openapi["components"]["schemas"]
    operations = told_operations(openapi)
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        name = operation["operationId"]
        assert name.isalpha(), name
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (name, parameter["name"])
            assert "example" in parameter or parameter["schema"]["examples"], (name, parameter["name"])
        for status, answer in operation["responses"].items():
            assert answer["description"], (name, status)
            if status[0] in "45" and "health" not in operation["tags"]:
                assert list(answer["content"]) == ["application/problem+json"], (name, status)
            for content in answer.get("content", {}).values():
                shape = content["schema"].get("$ref", "").rpartition("/")[2]
                assert "example" in content or schemas[shape]["examples"], (name, status)
        if "304" in operation["responses"]:
            assert "ETag" in operation["responses"]["200"]["headers"]
    assert openapi["security"] == []  # there is no sign-in
    assert set(openapi["components"]["securitySchemes"]) == {"session", "bearer"}


def test_openapi_examples_are_what_its_schemas_say(monitor: Served) -> None:
    openapi = get(monitor, "/openapi.json")
    shapes = openapi["components"]["schemas"]
    registry = Registry().with_resource("urn:api", DRAFT202012.create_resource(openapi))
    for name, shape in shapes.items():
        validator = Draft202012Validator({"$ref": f"urn:api#/components/schemas/{name}"}, registry=registry)
        for example in shape.get("examples", []):
            validator.validate(example)
    event = Draft202012Validator({"$ref": "urn:api#/components/schemas/CloudEvent"}, registry=registry)
    for path in CONTRACT.glob("*.json"):
        golden = json.loads(path.read_text())["event"]
        event.validate({**golden, "time": golden["time"] or moment(), "id": golden["id"] or "nudge:1"})
    sent = openapi["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]
    (batch, _) = (one["example"] for one in sent.values())
    assert parse_event(batch[0]).dag_id == "etl"


def test_openapi_says_where_it_is_and_how_to_sign_in(settings: Settings) -> None:
    changes = {"public_url": "https://example.com/windsock", "auth": "airflow"}
    app = create_app(settings.model_copy(update=changes))
    openapi = app.openapi()
    validate(openapi)
    assert [server["url"] for server in openapi["servers"]] == ["/windsock"]
    assert openapi["security"] == [{"session": []}, {"bearer": []}]
    open_to_all = [one["operationId"] for one in told_operations(openapi) if one.get("security") == []]
    assert open_to_all == ["sendEvents", "getLiveness", "getReadiness", "getMetrics"]


def test_the_ingest_needs_no_session_but_its_signature(monitor: Served) -> None:
    body = "[]"
    headers = sign(monitor.settings.ingest_secret[0].get_secret_value(), body)
    assert monitor.client.post("/api/v1/events", content=body, headers=headers).status_code == 202
    headers["webhook-signature"] = "v1,bm8="
    assert monitor.client.post("/api/v1/events", content=body, headers=headers).status_code == 401
