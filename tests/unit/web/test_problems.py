"""Errors: problem details (RFC 9457) for programs, a page for people, whoever in the framework answers."""

import json
import logging
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from monitor.settings import Settings
from monitor.web.problems import KINDS
from monitor.web.security import MAX_COMMAS, MAX_FORM
from monitor.web.silence_validation import MAX_DEPTH, MAX_MATCHES, MAX_VALUES
from tests.postgres_server import PostgresServer
from tests.sample import run_event
from tests.unit.web_support import Served, SignInAirflow, serving, with_sign_in

PROBLEM = "application/problem+json"
PAGE = {"Accept": "text/html"}
SILENCES = "/api/v1/silences"


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as monitor:
        monitor.post([run_event("failed")])
        yield monitor


def problem_of(answer: httpx.Response) -> Any:
    assert answer.headers["content-type"] == PROBLEM, answer.text
    assert answer.headers["cache-control"] == "no-store"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    return problem


def test_each_status_has_a_type_of_its_own_that_docs_describe(monitor: Served) -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    problem = problem_of(monitor.client.get("/api/v1/incidents/99"))
    assert (problem["type"], problem["title"]) == ("/docs#problem-not-found", "Not found")
    body = monitor.client.post("/api/v1/events", content=b"[]", headers={"Content-Type": "text/plain"})
    assert problem_of(body)["type"] == "/docs#problem-media-type"
    unsigned = {"Content-Type": "application/cloudevents-batch+json"}
    body = monitor.client.post("/api/v1/events", content=b"[]", headers=unsigned)
    assert problem_of(body)["type"] == "/docs#problem-signature"


def test_a_type_is_an_address_behind_a_prefix_too(settings: Settings) -> None:
    behind = settings.model_copy(update={"public_url": "http://127.0.0.1/windsock"})
    with serving(behind) as monitor:
        problem = problem_of(monitor.client.get("/windsock/api/v1/incidents/9"))
        assert problem["type"] == "/windsock/docs#problem-not-found"
        foreign = monitor.client.get("/windsock/api", headers={"Host": "evil.example"})
        assert problem_of(foreign)["type"] == "/windsock/docs#problem-host"


def test_an_unknown_path_is_a_problem_for_programs_and_a_page_for_people(monitor: Served) -> None:
    assert problem_of(monitor.client.get("/nowhere"))["detail"] == "Not Found: GET /nowhere"
    page = monitor.client.get("/nowhere", headers=PAGE)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "GET /nowhere" in page.text
    assert problem_of(monitor.client.get("/api/v1/nowhere", headers=PAGE))["status"] == 404
    assert problem_of(monitor.client.get("/static/nothing.css"))["status"] == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/v1/runs", "GET, HEAD"),
        ("PUT", "/api/v1/events", "GET, POST, HEAD"),
        ("PATCH", "/api/v1/silences/1", "GET, DELETE, HEAD"),
        ("GET", "/api/v1/incidents/1/acknowledgement", "POST, DELETE"),
        ("HEAD", "/api/v1/deliveries/1/resend", "POST"),
        ("POST", "/static/live.js", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(monitor: Served, method: str, path: str, allowed: str) -> None:
    answer = monitor.client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.headers["content-type"] == PROBLEM


@pytest.mark.parametrize(
    ("asked", "mistakes"),
    [
        ("?limit=0&cursor=x", {"limit": "0", "cursor": "x"}),
        ("?stat=failed&=y", {"stat": "failed", "": "y"}),
    ],
)
def test_each_wrong_parameter_is_named(monitor: Served, asked: str, mistakes: dict[str, str]) -> None:
    problem = problem_of(monitor.client.get(f"/api/v1/runs{asked}"))
    assert {one["parameter"]: one["value"] for one in problem["errors"]} == mistakes
    assert all(one["detail"] in problem["detail"] for one in problem["errors"])


def test_each_wrong_value_of_a_body_is_pointed_at(monitor: Served) -> None:
    body = {"match": {"any_of": [{"dag_id": [1]}]}, "reason": "", "a/b~c": "x" * 500}
    problem = problem_of(monitor.client.post(SILENCES, json=body))
    assert problem["type"] == "/docs#problem-invalid"
    found = {one["pointer"]: one.get("value") for one in problem["errors"]}
    assert found == {"#/match/any_of/0/dag_id/0": 1, "#/reason": "", "#/a~1b~0c": "x" * 100}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"\xff", 400),
        (b"[" * 30_000, 400),
        (b'{"reason": NaN}', 422),
        (b'{"reason": "x", "match": {"attempt": [false]}, "duration": "1h"}', 422),
        (b'{"reason": "\\ud800", "match": {"\\udfff": 1}}', 422),
        (b'{"reason": "\\u0000", "match": {"dag_id": "etl"}, "duration": "1h"}', 422),
        (json.dumps({"match": [1] * MAX_COMMAS}).encode(), 422),
        (json.dumps({"match": {"dag_id": [None] * MAX_COMMAS}}).encode(), 422),
        (json.dumps({"match": {"dag_id": [None] * (MAX_COMMAS + 2)}}).encode(), 413),
    ],
)
def test_a_body_that_is_none_is_a_problem(monitor: Served, body: bytes, status: int) -> None:
    answer = monitor.client.post(SILENCES, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    problem_of(answer)
    assert len(answer.content) < 10_000


def nested(depth: int) -> dict[str, Any]:
    match: dict[str, Any] = {"dag_id": "etl"}
    for _ in range(depth - 1):
        match = {"any_of": [match]}
    return match


ETL = {"dag_id": "etl"}


@pytest.mark.parametrize(
    ("match", "pointer", "words"),
    [
        (nested(MAX_DEPTH + 1), "#/match" + "/any_of/0" * MAX_DEPTH, "nested 6 deep; at most 5"),
        (nested(200), "#/match" + "/any_of/0" * MAX_DEPTH, "nested 6 deep"),
        ({"any_of": [ETL] * (MAX_VALUES + 1)}, "#/match/any_of", "21 values; at most 20"),
        ({"none_of": [{"tags": ["x"] * 1_500}]}, "#/match/none_of/0/tags", "1500 values; at most 20"),
        ({"any_of": [{"any_of": [ETL] * 10}] * 10}, "#/match", f"more than {MAX_MATCHES} matches"),
    ],
)
def test_a_match_is_bounded(monitor: Served, match: dict[str, Any], pointer: str, words: str) -> None:
    body = {"match": match, "reason": "works", "duration": "1h"}
    problem = problem_of(monitor.client.post(SILENCES, json=body))
    (mistake,) = problem["errors"]
    assert (problem["status"], mistake["pointer"]) == (422, pointer)
    assert words in mistake["detail"]


def test_a_match_within_the_bounds_is_taken(monitor: Served) -> None:
    body = {"match": {"type": "*", **nested(MAX_DEPTH)}, "reason": "works", "duration": "1h"}
    assert monitor.client.post(SILENCES, json=body).status_code == 201


@pytest.mark.parametrize("depth", [260, 900, 5_000])
def test_what_is_nested_beyond_all_measure_is_a_problem_too(monitor: Served, depth: int) -> None:
    match = b'{"any_of":[' * depth + b"{}" + b"]}" * depth
    body = b'{"reason":"works","duration":"1h","match":' + match + b"}"
    assert len(body) < MAX_FORM + 10_000
    answer = monitor.client.post(SILENCES, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 413, 422), answer.text
    problem_of(answer)


def test_lengths_are_asked_for(monitor: Served) -> None:
    assert problem_of(monitor.client.post(SILENCES, content=iter([b"{}"])))["status"] == 411
    assert problem_of(monitor.client.post(SILENCES, content=b" " * (MAX_FORM + 1)))["status"] == 413


@pytest.mark.parametrize("headers", [{}, PAGE])
def test_a_defect_tells_nothing_of_the_inside(
    settings: Settings, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    async def broken() -> None:
        raise RuntimeError("the secret inside")

    monitor = Served(settings)
    monitor.app.add_api_route("/broken", broken)
    monitor.start()
    try:
        with caplog.at_level(logging.ERROR, "monitor.web.middleware"):
            answer = monitor.client.get("/broken", headers=headers)
        metrics = monitor.client.get("/metrics").text
    finally:
        monitor.stop()
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "content-security-policy" in answer.headers
    (record,) = caplog.records
    incident = record.getMessage().rpartition(" ")[2]
    assert incident.startswith("urn:uuid:")
    assert incident in answer.text
    assert record.exc_info
    assert "the secret inside" in str(record.exc_info[1])
    assert 'windsock_http_failures_total{reason="unexpected"} 1.0' in metrics
    if not headers:
        assert problem_of(answer)["instance"] == incident


@pytest.mark.slow
def test_a_database_that_is_away_is_no_defect(settings: Settings) -> None:
    with ExitStack() as running:
        postgres = PostgresServer().start()
        running.callback(postgres.stop)
        with serving(settings.model_copy(update={"database_url": postgres.url()})) as monitor:
            assert monitor.client.get("/api/v1/runs").status_code == 200
            running.close()
            answer = monitor.client.get("/api/v1/runs")
            problem = problem_of(answer)
            assert (problem["status"], problem["type"]) == (503, "/docs#problem-unavailable")
            assert answer.headers["retry-after"] == "5"
            assert 'failures_total{reason="database"} 1.0' in monitor.client.get("/metrics").text
            assert monitor.client.get("/livez").status_code == 200
            assert monitor.client.get("/readyz").status_code == 503


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/events?after=nonsense", {}, 400),
        ("/events?since=yesterday", {}, 400),
        ("/events?since=0001-01-01T00:00:00%2B14:00", {}, 400),
        ("/events?dag=etl", {}, 422),
        ("/events?dag_id=" + "&dag_id=".join("abcdefghijklmnopqrstu"), {}, 422),
        ("/events", {"Last-Event-ID": "nonsense"}, 400),
        ("/events", {"Host": "evil.example"}, 421),
    ],
)
def test_the_feed_answers_errors_as_all_others(
    monitor: Served, path: str, headers: dict[str, str], status: int
) -> None:
    answer = monitor.client.get(path, headers={"Accept": "text/event-stream", **headers})
    assert problem_of(answer)["status"] == status


@pytest.mark.parametrize("path", ["/events", "/api/v1/runs", "/api"])
def test_who_is_not_known_is_told_how_to_be(settings: Settings, path: str) -> None:
    with SignInAirflow().serving() as airflow:
        airflow.add("alice", "secret", ["etl"])
        with serving(with_sign_in(settings, airflow)) as monitor:
            answer = monitor.client.get(path)
            assert problem_of(answer)["type"] == "/docs#problem-sign-in"
            assert answer.headers["www-authenticate"] == "Bearer"
            airflow.away = True
            headers = {"Authorization": f"Bearer {airflow.token('alice')}"}
            answer = monitor.client.get(path, headers=headers)
            assert problem_of(answer)["type"] == "/docs#problem-unavailable"
            assert int(answer.headers["retry-after"]) > 0
