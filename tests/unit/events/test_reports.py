"""Reports from outside: the monitor computes id and time; a secret or token reports for its deployments."""

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from pydantic import SecretStr

from monitor.errors import EventError, SettingsError
from monitor.event_log import read
from monitor.events.event import parse_event
from monitor.events.identity import import_error_id
from monitor.events.reports import CLOCK_SLACK_SECONDS, FROM_REST, Reporter, accept_report, compute_id
from monitor.settings import Settings
from monitor.settings_loading import load_settings
from monitor.settings_values import AirflowSettings
from monitor.web.api.ingest import SIGNATURE_HEADERS
from monitor.web.auth import tokens
from monitor.web.auth.tokens import Draft, Scope
from tests.sample import asset_event, event, moment, run_event, task_event
from tests.unit.conftest import NOW, FakeClock, Live, make_secret, sign
from tests.unit.web_support import MONITOR_USER, Served, SignInAirflow, serving, with_sign_in

CONTRACT = Path(__file__).parents[2] / "contract"
REPORTER = Reporter(frozenset(("local",)))
BY_THE_MONITOR_ALONE = (
    "import_error",
    "component.",
    "windsock.",
    "asset.nudge",
    "airflow.",
    "backfill",
    "hitl",
)


def golden() -> Iterator[Any]:
    for path in sorted(CONTRACT.glob("*.json")):
        if not path.name.startswith(BY_THE_MONITOR_ALONE) and "import_error" not in path.name:
            event = json.loads(path.read_text())["event"]
            yield pytest.param(event | {"time": event["time"] or moment()}, id=path.stem)


def logged(live: Live) -> list[dict[str, Any]]:
    page = live.app.state.services.database.read_now(lambda c: read.read_after(c, 0, 10_000))
    return [json.loads(event.body) for event in page.events]


@pytest.mark.parametrize("event", list(golden()))
def test_the_monitor_computes_the_id_of_each_golden_event(event: dict[str, Any]) -> None:
    assert compute_id(parse_event(event)) == event["id"]


@pytest.mark.parametrize("make", [run_event, task_event])
def test_a_taken_id_does_not_hide_the_true_event(live: Live, make: Any) -> None:
    true = make("failed")
    forged = {**make("running", dag_id="other", run_id="other"), "id": true["id"]}
    assert live.post([forged]).json()["results"] == [{"id": true["id"], "status": "accepted"}]
    assert live.post([true]).json()["results"] == [{"id": true["id"], "status": "accepted"}]
    first, second = logged(live)
    assert first["id"] != true["id"]
    assert second == true
    told = generate_latest(live.app.state.services.metrics.registry).decode()
    assert 'windsock_event_ids_corrected_total{deployment="local"} 1.0' in told


@pytest.mark.parametrize("make", [run_event, task_event])
@pytest.mark.parametrize("state", ["running", "failed"])
def test_the_time_is_that_of_the_data(live: Live, make: Any, state: str) -> None:
    made = make(state)
    live.post([{**made, "time": "2000-01-01T00:00:00Z"}])
    [event] = logged(live)
    assert event["time"] == made["data"]["start_date" if state == "running" else "end_date"]


@pytest.mark.parametrize("reported_by", ["monitor", "reconciler"])
def test_nobody_reports_as_the_monitor(reported_by: str) -> None:
    with pytest.raises(EventError, match=r"data\.reported_by: .*'listener'"):
        accept_report(
            run_event() | {"data": run_event()["data"] | {"reported_by": reported_by}}, REPORTER, NOW
        )


def import_error(event_id: str, at: str = moment(), **data: Any) -> dict[str, Any]:
    made = {"filename": "/dags/x.py", "bundle_name": None, "stacktrace": "boom", "error_id": event_id, **data}
    return event("airflow.dag.import_error", event_id, "/dags/x.py", at, made)


TRACE = "0123456789abcdef" * 2
OF_THE_FILE = import_error_id("/dags/x.py", "boom")


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (run_event("failed")["id"], OF_THE_FILE),
        ("asset_event:7", OF_THE_FILE),
        (f"import_error:{TRACE}:{TRACE}", f"{OF_THE_FILE.rpartition(':')[0]}:{TRACE}"),
        (f"import_error:{TRACE}:{TRACE}:mended", OF_THE_FILE),
        (f"import_error:{TRACE}", OF_THE_FILE),
    ],
)
def test_an_import_error_has_an_id_of_its_own_file(given: str, made: str) -> None:
    taken = accept_report(import_error(given), REPORTER, NOW)
    assert (taken.id, taken.get("error_id"), json.loads(taken.body)["data"]["error_id"]) == (made, made, made)


def test_every_type_that_is_reported_has_its_own_prefix() -> None:
    nudge = event("windsock.asset.nudge", "run:1:failed", "m", moment(), {"asset": {"name": "m", "uri": "m"}})
    with pytest.raises(EventError, match="'nudge:'"):
        accept_report(nudge, REPORTER, NOW)
    with pytest.raises(EventError, match=r"data\.ti_id"):
        accept_report(
            task_event("failed", ti_id=None) | {"id": "try:1:failed"} | _without_ti(), REPORTER, NOW
        )


def _without_ti() -> dict[str, Any]:
    return {"data": {**task_event("failed")["data"], "ti_id": None}}


def test_nothing_is_dated_later_than_it_comes() -> None:
    far, near = moment(1e9), moment(CLOCK_SLACK_SECONDS)
    ended = accept_report(run_event("failed", end_date=far), REPORTER, NOW)
    assert ended.time == NOW
    assert accept_report(run_event("failed", end_date=near), REPORTER, NOW).time > NOW
    times = [accept_report(import_error("x", at), REPORTER, NOW).time for at in (far, "1990-01-01T00:00:00Z")]
    assert times == [NOW, NOW]


def test_what_airflow_is_asked_for_is_reported_by_nobody_else() -> None:
    asked = Reporter(frozenset(("local",)), frozenset(("local",)))
    assert asset_event(1)["type"] in FROM_REST
    accept_report(asset_event(1), REPORTER, NOW)
    with pytest.raises(EventError, match=r"windsock\.asset\.nudge"):
        accept_report(asset_event(1), asked, NOW)


def test_an_unknown_deployment_is_refused_with_the_remedy(live: Live) -> None:
    [result] = live.post([run_event() | {"source": "/airflow/emea"}]).json()["results"]
    assert result["status"] == "rejected"
    assert "WINDSOCK_DEPLOYMENT" in result["reason"]


@pytest.fixture
def two(settings: Settings, clock: FakeClock) -> Iterator[Served]:
    """A monitor of two Airflows, each with a secret of its own."""
    user, password = MONITOR_USER
    with SignInAirflow().serving() as airflow:
        emea = AirflowSettings(
            url=airflow.url,
            username=user,
            password=SecretStr(password),
            ingest_secret=(SecretStr(make_secret()),),
        )
        with serving(
            with_sign_in(settings, airflow).model_copy(update={"airflows": {"emea": emea}}), clock
        ) as both:
            yield both


def statuses(monitor: Served, headers: dict[str, str], body: str) -> list[str]:
    answer = monitor.client.post("/api/v1/events", content=body, headers=headers)
    return [result["status"] for result in answer.raise_for_status().json()["results"]]


@pytest.mark.parametrize(
    ("signer", "expected"), [("local", ["accepted", "rejected"]), ("emea", ["rejected", "accepted"])]
)
def test_a_secret_reports_for_its_own_deployment(two: Served, signer: str, expected: list[str]) -> None:
    body = json.dumps([run_event() | {"source": f"/airflow/{name}"} for name in ("local", "emea")])
    secret = two.settings.ingest_secrets[signer][0].get_secret_value()
    assert statuses(two, sign(secret, body), body) == expected


@pytest.mark.parametrize(
    ("deployments", "expected"),
    [
        (None, ["accepted", "rejected"]),
        (frozenset(("emea",)), ["rejected", "accepted"]),
        (frozenset(("emea", "local")), ["accepted", "accepted"]),
    ],
)
def test_a_token_reports_for_its_own_deployments(
    two: Served, deployments: frozenset[str] | None, expected: list[str]
) -> None:
    draft = Draft("key", frozenset((Scope.INGEST,)), None, timedelta(days=1), deployments)
    services = two.app.state.services
    _, secret = services.database.write_now(lambda c: tokens.add(c, draft, None, services.clock()))
    body = json.dumps([run_event() | {"source": f"/airflow/{name}"} for name in ("local", "emea")])
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/cloudevents-batch+json"}
    assert statuses(two, headers, body) == expected


def test_one_secret_for_two_deployments_is_refused() -> None:
    secret = make_secret()
    emea = {"url": "http://b", "username": "u", "password": "p", "ingest_secret": secret}
    with pytest.raises(SettingsError, match="same ingest_secret"):
        load_settings(
            None,
            ingest_secret=secret,
            airflow_url="http://a",
            airflow_username="u",
            airflow_password="p",
            airflows={"emea": emea},
        )


@pytest.mark.parametrize("lacking", SIGNATURE_HEADERS)
def test_an_unsigned_body_is_not_read(live: Live, lacking: str) -> None:
    headers = sign(live.settings.ingest_secret[0].get_secret_value(), "") | {lacking: ""}
    assert_refused_unread(live, headers)


@pytest.mark.parametrize("timestamp", ["0", "-1", "now", "9" * 400, "1" + "0" * 11])
def test_a_body_of_another_time_is_not_read(live: Live, timestamp: str) -> None:
    headers = sign(live.settings.ingest_secret[0].get_secret_value(), "") | {"webhook-timestamp": timestamp}
    assert_refused_unread(live, headers)


def assert_refused_unread(live: Live, headers: dict[str, str]) -> None:
    """The answer comes although no byte of the body has been sent."""
    head = [f"{name}: {value}" for name, value in headers.items()]
    lines = ["POST /api/v1/events HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 4000000", *head, "", ""]
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as sender:
        sender.sendall("\r\n".join(lines).encode())
        assert sender.recv(4096).startswith(b"HTTP/1.1 401")
