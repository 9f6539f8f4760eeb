"""The ingest endpoint against a real server: what is taken, and how bad input is refused."""

import json
import math
import socket
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client import generate_latest
from pydantic import SecretStr

from monitor.bounded_json import MAX_VALUES
from monitor.clock import utc_now
from monitor.event_log import read
from monitor.events.reports import MAX_EVENT
from monitor.settings import Settings
from monitor.web.api.ingest import MAX_BODY
from monitor.web.api.ingest_models import MAX_BATCH
from tests import wait
from tests.sample import asset_event, moment, run_event, task_event
from tests.unit.conftest import Live, make_secret, sign


def logged(live: Live) -> list[str]:
    page = live.app.state.services.database.read_now(lambda c: read.read_after(c, 0, 10_000))
    return [json.loads(event.body)["id"] for event in page.events]


def send(live: Live, body: str | bytes, headers: dict[str, str]) -> httpx.Response:
    return live.client.post("/api/v1/events", content=body, headers=headers)


def secret_of(live: Live) -> str:
    return live.settings.ingest_secret[0].get_secret_value()


def test_a_batch_is_durable_and_told_once(live: Live) -> None:
    batch = [run_event("running"), task_event(), run_event("success"), asset_event(1)]
    first = live.post(batch).json()
    again = live.post([*batch, run_event("failed", run_id="other")]).json()
    assert (first["accepted"], first["duplicate"], first["rejected"]) == (4, 0, 0)
    assert (again["accepted"], again["duplicate"], again["rejected"]) == (1, 4, 0)
    assert [result["id"] for result in first["results"]] == [event["id"] for event in batch]
    assert logged(live) == [*(event["id"] for event in batch), run_event("failed", run_id="other")["id"]]


def test_the_same_event_twice_in_one_batch_is_logged_once(live: Live) -> None:
    answer = live.post([run_event(), run_event()]).json()
    assert [result["status"] for result in answer["results"]] == ["accepted", "duplicate"]
    assert len(logged(live)) == 1


def test_one_bad_event_in_a_hundred_leaves_the_others(live: Live) -> None:
    batch = [run_event(run_id=f"run_{number}") for number in range(100)]
    batch[41]["data"]["start_date"] = "yesterday"
    answer = live.post(batch)
    assert answer.status_code == 202
    body = answer.json()
    assert (body["accepted"], body["rejected"]) == (99, 1)
    assert body["results"][41]["status"] == "rejected"
    assert "data.start_date" in body["results"][41]["reason"]
    assert "'yesterday'" in body["results"][41]["reason"]
    assert len(logged(live)) == 99


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "airflow.dag_run.exploded"}, "airflow.dag_run.exploded"),
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"id": None}, "id"),
        ({"source": "/elsewhere/x"}, "source"),
        ({"time": "2026-11-22T10:00:00"}, "time zone"),
        ({"data": None}, "data"),
        ({"data": {**run_event()["data"], "state": "failed"}}, "does not fit the type"),
        ({"data": {**run_event()["data"], "dag_id": 7}}, "data.dag_id"),
        ({"data": {key: value for key, value in run_event()["data"].items() if key != "run_id"}}, "run_id"),
    ],
)
def test_a_wrong_field_is_named(live: Live, change: dict[str, object], reason: str) -> None:
    answer = live.post([run_event() | change]).json()
    assert answer["rejected"] == 1
    assert reason in answer["results"][0]["reason"]
    assert logged(live) == []


@pytest.mark.parametrize("value", [None, 7, "text", ["list"]])
def test_what_is_no_object_is_rejected_alone(live: Live, value: object) -> None:
    body = json.dumps([value, run_event()])
    answer = send(live, body, sign(secret_of(live), body)).json()
    assert [result["status"] for result in answer["results"]] == ["rejected", "accepted"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("{not json", 400, "not JSON"),
        ("[" * 100_000, 400, "not JSON"),
        ('{"id": 1}', 400, "array"),
        (json.dumps([{}] * (MAX_BATCH + 1)), 413, "at most"),
        ("[" + "7," * (MAX_BODY // 2) + "7]", 413, "longer than"),
        ("[" + "7," * MAX_VALUES + "7]", 413, "more than 100000 values"),
        ('"' + "x" * 10_000_000 + '"', 413, "longer than"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_whole(live: Live, body: str, status: int, words: str) -> None:
    answer = send(live, body, sign(secret_of(live), body))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in answer.json()["detail"]
    assert live.post([run_event()]).json()["accepted"] == 1  # nothing else is disturbed


def test_an_event_has_a_size(live: Live) -> None:
    small = len(json.dumps(run_event(message="")))
    at, beyond = (run_event(message="é" * ((MAX_EVENT - small + more) // 2)) for more in (0, 1000))
    first, second = live.post([at, beyond | {"id": "x"}]).json()["results"]
    assert first["status"] == "accepted"
    assert second["status"] == "rejected"
    assert f"{MAX_EVENT} bytes" in second["reason"]


def test_a_long_body_without_a_length_is_cut_off(live: Live) -> None:
    def endless() -> object:
        for _ in range(10):
            yield b"x" * 1_000_000

    headers = sign(secret_of(live), "")
    assert live.client.post("/api/v1/events", content=endless(), headers=headers).status_code == 413  # type: ignore[arg-type]


def test_bytes_that_are_no_utf8_are_refused(live: Live) -> None:
    answer = send(live, b"[\xff\xfe]", sign(secret_of(live), "[]"))
    assert answer.status_code == 401
    assert live.post([run_event()]).json()["accepted"] == 1


def test_a_wrong_content_type_is_refused(live: Live) -> None:
    answer = send(live, "[]", sign(secret_of(live), "[]") | {"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert "text/plain" in answer.json()["detail"]


def test_a_wrong_signature_is_refused(live: Live) -> None:
    body = json.dumps([run_event()])
    good = sign(secret_of(live), body)
    for headers in (
        sign(make_secret(), body),
        good | {"webhook-signature": "v1,AAAA"},
        good | {"webhook-signature": "nonsense"},
        good | {"webhook-timestamp": "nan"},
        {"Content-Type": good["Content-Type"]},
    ):
        answer = send(live, body, headers)
        assert answer.status_code == 401
        assert "WINDSOCK_INGEST_SECRET" in answer.json()["detail"]
        assert secret_of(live) not in answer.text
    assert send(live, body + " ", good).status_code == 401
    assert logged(live) == []
    assert 'windsock_ingest_requests_refused_total{reason="signature"} 6.0' in metrics(live)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_timestamp_outside_the_tolerance_is_refused(live: Live, minutes: int) -> None:
    body = json.dumps([run_event()])
    answer = send(live, body, sign(secret_of(live), body, utc_now() + timedelta(minutes=minutes)))
    assert answer.status_code == 401
    assert "clock" in answer.json()["detail"]


def test_each_secret_in_force_is_taken_while_one_is_replaced(settings: Settings) -> None:
    old, new = make_secret(), make_secret()
    monitor = Live(settings.model_copy(update={"ingest_secret": (SecretStr(old), SecretStr(new))})).start()
    try:
        for secret in (old, new):
            assert send(monitor, "[]", sign(secret, "[]")).status_code == 202
        assert send(monitor, "[]", sign(make_secret(), "[]")).status_code == 401
    finally:
        monitor.stop()


def test_one_event_alone_is_taken_as_structured_mode(live: Live) -> None:
    body = json.dumps(run_event())
    headers = sign(secret_of(live), body) | {"Content-Type": "application/cloudevents+json"}
    assert send(live, body, headers).json()["accepted"] == 1


def test_unknown_fields_are_kept(live: Live) -> None:
    event = run_event(invented_later=math.pi)
    live.post([event | {"traceparent": "00-1-2-03"}])
    page = live.app.state.services.database.read_now(lambda c: read.read_after(c, 0, 1))
    kept = json.loads(page.events[0].body)
    assert kept["data"]["invented_later"] == math.pi
    assert kept["traceparent"] == "00-1-2-03"


def metrics(live: Live) -> str:
    return generate_latest(live.app.state.services.metrics.registry).decode()


def test_a_request_that_is_cut_off_takes_nothing_and_is_no_error(
    live: Live, caplog: pytest.LogCaptureFixture
) -> None:
    signed = (f"{name}: {value}" for name, value in sign(secret_of(live), "").items())
    headers = ("Host: 127.0.0.1", *signed, "Content-Length: 100")
    half = "\r\n".join(("POST /api/v1/events HTTP/1.1", *headers, "", "[{"))
    with socket.create_connection(("127.0.0.1", live.port)) as sender:
        sender.sendall(half.encode())

    def counted() -> bool:
        told = generate_latest(live.app.state.services.metrics.registry).decode()
        return 'windsock_ingest_requests_refused_total{reason="cut"} 1.0' in told

    wait.until(counted, "the request to be counted")
    assert logged(live) == []
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_what_the_monitor_finds_itself_is_taken_from_nobody_else(live: Live) -> None:
    contract = Path(__file__).parents[3] / "contract"
    own = [json.loads(path.read_text())["event"] for path in sorted(contract.glob("windsock.*.json"))]
    nudge = json.loads((contract / "asset.nudge.json").read_text())["event"]
    answer = live.post([*own, nudge | {"id": "nudge:1", "time": moment()}]).json()
    assert (answer["rejected"], answer["accepted"]) == (len(own), 1)
    assert "is reported by the monitor itself" in answer["results"][0]["reason"]
    assert logged(live) == []
