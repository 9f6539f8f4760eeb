"""Incidents and the ledger, in the API and as pages, on both databases."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, insert

from monitor.database.schema import dags, events
from monitor.events.identity import run_id_of
from monitor.notifications.outbox import queries, queue
from monitor.notifications.outbox.records import State
from monitor.settings import Settings
from monitor.web.silence_validation import MAX_REASON
from tests import wait
from tests.sample import START, event, moment, run_event
from tests.unit.conftest import FakeClock
from tests.unit.web_support import (
    MONITOR_USER,
    Served,
    SignInAirflow,
    hidden,
    serving,
    try_to_sign_in,
    with_sign_in,
)

EVIL = {"Origin": "https://evil.example"}
OTHERS_ONLY = """
rules:
  - name: others
    match: {type: "airflow.dag_run.*", dag_id: other}
    to: [ops@example.com]
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def monitor(request: pytest.FixtureRequest, settings: Settings, clock: FakeClock) -> Iterator[Served]:
    on_postgres = request.param == "postgresql"
    url = request.getfixturevalue("postgres_url") if on_postgres else ""
    with serving(settings.model_copy(update={"database_url": url}), clock) as monitor:
        yield monitor


def get(client: httpx.Client, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def fail(monitor: Served, dag_id: str = "etl", number: int = 0) -> str:
    """A run that fails, and is told as far as it is to be told now; answers the event's id."""
    failed = run_event("failed", dag_id, f"run_{number}", start=number * 60)
    assert monitor.post([failed]).json()["accepted"] == 1
    settled(monitor)
    return str(failed["id"])


def settled(monitor: Served) -> None:
    """Wait until nothing is left to send at the clock's moment."""
    services = monitor.app.state.services
    now = services.clock()

    def is_quiet() -> bool:
        due = services.database.read_now(queue.next_due)
        under_way = services.database.read_now(queries.counts)[State.SENDING]
        return not under_way and (due is None or due > now)

    wait.until(is_quiet, "the deliveries to be settled")


def test_incidents_are_paged_and_filtered(monitor: Served) -> None:
    for number in range(5):
        fail(monitor, f"dag_{number}")
    monitor.post([run_event("success", "dag_1", "run_9", start=60)])
    first = get(monitor.client, "/api/v1/incidents?limit=3")
    assert [one["dag_id"] for one in first["incidents"]] == ["dag_4", "dag_3", "dag_2"]
    rest = get(monitor.client, f"/api/v1/incidents?limit=3&cursor={first['next']}")
    assert [(one["dag_id"], one["state"]) for one in rest["incidents"]] == [
        ("dag_1", "closed"),
        ("dag_0", "open"),
    ]
    assert rest["next"] is None
    closed = get(monitor.client, "/api/v1/incidents?state=closed")["incidents"]
    assert [one["dag_id"] for one in closed] == ["dag_1"]
    assert len(get(monitor.client, "/api/v1/incidents?dag_id=dag_2")["incidents"]) == 1
    for wrong in ("state=over", "dag=etl", "limit=0"):
        assert monitor.client.get(f"/api/v1/incidents?{wrong}").status_code == 422


def test_one_incident_with_its_decisions_and_deliveries(monitor: Served) -> None:
    for number in range(3):
        fail(monitor, number=number)
    found = get(monitor.client, "/api/v1/incidents/1")
    assert (found["title"], found["failures"], found["state"]) == ("etl fails", 3, "open")
    assert [one["rule"] for one in found["decisions"]] == ["failures"] * 3
    assert found["decisions"][0]["outcome"] == "notified"
    assert {one["kind"] for one in found["deliveries"]} == {"opened", "follow_up"}
    assert all(one["incident_id"] == 1 for one in found["deliveries"])
    assert monitor.client.get("/api/v1/incidents/2").status_code == 404
    assert monitor.client.get("/api/v1/incidents/0").status_code == 422


def test_acknowledging(monitor: Served, clock: FakeClock) -> None:
    fail(monitor)
    path = "/api/v1/incidents/1/acknowledgement"
    taken = monitor.client.post(path, json={"reason": "  a ticket is open "})
    assert taken.status_code == 200
    answer = taken.json()
    assert (answer["acknowledged_by"], answer["acknowledged_reason"]) == ("local", "a ticket is open")
    assert answer["acknowledged_at"].startswith(f"{clock.now:%Y-%m-%dT%H:%M:%S}")
    fail(monitor, number=1)
    told = get(monitor.client, "/api/v1/incidents/1")["decisions"][-1]
    assert (told["outcome"], told["notification_id"]) == ("suppressed", None)
    assert "acknowledged by local: a ticket is open" in told["reason"]
    assert monitor.client.delete(path).json()["acknowledged_by"] is None
    for body in ({}, {"reason": " "}, {"reason": "x" * (MAX_REASON + 1)}, {"reason": "a\0b"}, {"why": "x"}):
        assert monitor.client.post(path, json=body).status_code == 422, body
    assert monitor.client.post(path, json={"reason": "x"}, headers=EVIL).status_code == 403
    missing = monitor.client.post("/api/v1/incidents/9/acknowledgement", json={"reason": "x"})
    assert missing.status_code == 404


def test_an_acknowledgement_lapses(monitor: Served, clock: FakeClock) -> None:
    fail(monitor)
    path = "/api/v1/incidents/1/acknowledgement"
    for until in (clock.now, clock.now + timedelta(days=400)):
        refused = monitor.client.post(path, json={"reason": "x", "until": until.isoformat()})
        assert refused.status_code == 422
        assert "until: " in refused.json()["detail"]
    assert monitor.client.post(path, json={"reason": "x", "until": "tomorrow"}).status_code == 422
    until = clock.now + timedelta(hours=1)
    acked = monitor.client.post(path, json={"reason": "on it", "until": until.isoformat()}).json()
    assert (acked["status"], acked["acknowledged_until"]) == ("acknowledged", "2026-11-22T11:00:00Z")
    clock.forward(3600)
    found = get(monitor.client, "/api/v1/incidents/1")
    assert (found["status"], found["acknowledged_by"], found["acknowledged_until"]) == ("open", None, None)
    for query in ("status=open", "acknowledged=false", "state=open"):
        assert len(get(monitor.client, f"/api/v1/incidents?{query}")["incidents"]) == 1, query
    assert get(monitor.client, "/api/v1/incidents?status=acknowledged")["incidents"] == []
    page = monitor.client.get("/incidents/1").text
    assert "The acknowledgement of local has lapsed" in page
    assert "/incidents/1/acknowledge" in page


def test_taking_over(monitor: Served) -> None:
    fail(monitor)
    path = "/api/v1/incidents/1/assignee"
    assert monitor.client.post(path, headers=EVIL).status_code == 403
    taken = monitor.client.post(path).json()
    assert (taken["assignee"], taken["status"]) == ("local", "open")
    assert taken["assigned_at"]
    for page in ("/incidents", "/incidents/1"):
        assert "Taken over by local" in monitor.client.get(page).text
    assert monitor.client.delete(path).json()["assignee"] is None
    assert "Taken over by" not in monitor.client.get("/incidents/1").text
    assert monitor.client.post("/api/v1/incidents/9/assignee").status_code == 404
    assert monitor.client.post("/incidents/1/assignee", headers=EVIL).status_code == 403
    assert monitor.client.post("/incidents/1/assignee").status_code == 303
    assert len(get(monitor.client, "/api/v1/incidents?assignee=local")["incidents"]) == 1
    assert monitor.client.post("/incidents/1/assignee", data={"action": "release"}).status_code == 303
    assert get(monitor.client, "/api/v1/incidents?assignee=local")["incidents"] == []


def test_acknowledging_for_a_while_on_the_page(monitor: Served) -> None:
    fail(monitor)
    path = "/incidents/1/acknowledge"
    assert monitor.client.post(path, data={"reason": "x", "until": "for ever"}).status_code == 422
    assert monitor.client.post(path, data={"reason": "on it", "until": "1h"}).status_code == 303
    assert get(monitor.client, "/api/v1/incidents/1")["acknowledged_until"] == "2026-11-22T11:00:00Z"


def test_incidents_are_searched_and_filtered(monitor: Served) -> None:
    owners = {"etl": ["Jane Dö"], "load": ["jane", "bob"]}
    rows = {"deployment": "local", "is_paused": False, "times_paused": 0, "times_unpaused": 0}
    listed = [{**rows, "dag_id": dag_id, "owners": names, "tags": []} for dag_id, names in owners.items()]
    monitor.app.state.services.database.write_now(lambda c: c.execute(insert(dags), listed))
    for dag_id in ("etl", "load", "100%"):
        fail(monitor, dag_id)
    monitor.post([run_event("success", "load", "run_9", start=60)])
    monitor.client.post("/api/v1/incidents/3/close", json={"reason": "x"})
    for query, seen in (
        ("status=open&status=resolved", {"etl", "load"}),
        ("status=closed", {"100%"}),
        ("owner=jane", {"load"}),
        ("owner=Jane D%C3%B6", {"etl"}),
        ("owner=%25", set()),
        ("search=LOA", {"load"}),
        ("search=0%25", {"100%"}),
        ("search=_", set()),
        ("state=closed&search=fails", {"load", "100%"}),
    ):
        found = get(monitor.client, f"/api/v1/incidents?{query}")["incidents"]
        assert {one["dag_id"] for one in found} == seen, query
        page = monitor.client.get(f"/incidents?{query}").text
        rows_shown = re.findall(r'<a class="name" href="/incidents/\d+">(.*) fails</a>', page)
        assert set(rows_shown) == seen, query
    for wrong in ("status=over", "status=", "assignee=", "search="):
        assert monitor.client.get(f"/api/v1/incidents?{wrong}").status_code == 422, wrong


def test_silences_are_in_the_timeline(monitor: Served) -> None:
    fail(monitor)
    body = {"match": {"deployment": ["local"], "dag_id": ["etl"]}, "reason": "moved", "duration": "8h"}
    assert monitor.client.post("/api/v1/silences", json=body).status_code == 201
    other = {**body, "match": {"deployment": ["local"], "dag_id": ["other"]}, "reason": "of another"}
    assert monitor.client.post("/api/v1/silences", json=other).status_code == 201
    timeline = monitor.client.get("/incidents/1").text.split('id="timeline"')[1]
    assert "local silenced Airflow local, and DAG etl until" in timeline
    assert "moved" in timeline
    assert "of another" not in timeline


def test_one_row_for_one_notification(monitor: Served) -> None:
    rules = monitor.app.state.services.rules
    rules.path.write_text(OTHERS_ONLY.replace("other}", "etl}").replace("]", ", jane@example.com]"))
    while not rules.look():
        pass
    fail(monitor)
    timeline = monitor.client.get("/incidents/1").text.split('id="timeline"')[1]
    assert timeline.count("First notification") == 1
    assert timeline.index("ops@example.com") < timeline.index("jane@example.com")
    assert "Notified: ops@example.com, jane@example.com by email" in monitor.client.get("/incidents").text


def test_what_is_over_is_not_acknowledged(monitor: Served) -> None:
    fail(monitor)
    monitor.post([run_event("success", "etl", "run_2", start=120)])
    answer = monitor.client.post("/api/v1/incidents/1/acknowledgement", json={"reason": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")
    assert "closed" in answer.json()["detail"]


def test_closing_by_hand(monitor: Served, clock: FakeClock) -> None:
    """A DAG that was deleted never succeeds again; a failure after that opens another incident."""
    fail(monitor)
    path = "/api/v1/incidents/1/close"
    for body in ({}, {"reason": " "}, {"reason": "x" * (MAX_REASON + 1)}, {"reason": "a\0b"}):
        assert monitor.client.post(path, json=body).status_code == 422, body
    assert monitor.client.post(path, json={"reason": "x"}, headers=EVIL).status_code == 403
    assert monitor.client.post("/api/v1/incidents/9/close", json={"reason": "x"}).status_code == 404
    closed = monitor.client.post(path, json={"reason": "the DAG was deleted"})
    assert closed.status_code == 200
    told = closed.json()
    assert (told["state"], told["closed_by"]) == ("closed", "local")
    assert told["closed_reason"] == "the DAG was deleted"
    again = monitor.client.post(path, json={"reason": "x"})
    assert again.status_code == 409
    assert "closed by local: the DAG was deleted" in again.json()["detail"]
    for page in ("/incidents", "/incidents/1"):
        assert "Closed by local: the DAG was deleted" in monitor.client.get(page).text
    assert get(monitor.client, "/api/v1/incidents?state=open")["incidents"] == []
    fail(monitor, number=1)
    assert [one["id"] for one in get(monitor.client, "/api/v1/incidents?state=open")["incidents"]] == [2]


def test_closing_on_the_incidents_page(monitor: Served) -> None:
    fail(monitor)
    assert 'action="/incidents/1/close"' in monitor.client.get("/incidents/1").text
    assert monitor.client.post("/incidents/1/close", data={"reason": " "}).status_code == 422
    answer = monitor.client.post("/incidents/1/close", data={"reason": "no failure at all"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/incidents/1")
    page = monitor.client.get("/incidents/1").text
    assert "Closed by local: no failure at all" in page
    assert "/close" not in page
    assert monitor.client.post("/incidents/1/close", data={"reason": "x"}).status_code == 409


def test_what_each_rule_made_of_an_event(monitor: Served) -> None:
    event_id = fail(monitor)
    (told,) = get(monitor.client, f"/api/v1/events/{event_id}/decisions")["explanations"]
    assert told["event"]["id"] == event_id
    lines = {line["rule"]: line for line in told["rules"]}
    assert lines["failures"]["mismatch"] is None
    assert [one["outcome"] for one in lines["failures"]["decisions"]] == ["notified"]
    assert [one["recipient"] for one in lines["failures"]["deliveries"]] == ["ops@example.com"]
    assert lines["successes"]["mismatch"].startswith("type: ")
    assert lines["successes"]["decisions"] == []
    assert get(monitor.client, f"/api/v1/events/{event_id}/decisions?deployment=local")
    for unknown in ("nothing/decisions", f"{event_id}/decisions?deployment=other"):
        assert monitor.client.get(f"/api/v1/events/{unknown}").status_code == 404


def ids(monitor: Served, query: str) -> list[int]:
    return [one["id"] for one in get(monitor.client, f"/api/v1/deliveries?{query}")["deliveries"]]


def test_deliveries_are_filtered(monitor: Served, clock: FakeClock) -> None:
    fail(monitor, "etl")
    clock.forward(3600)
    fail(monitor, "load")
    monitor.post([run_event("success", "Airflow_Lab2", "run_3", start=4000)])
    assert ids(monitor, "") == [3, 2, 1]
    assert ids(monitor, "rule=failures") == [2, 1]
    assert ids(monitor, "kind=success") == [3]
    assert ids(monitor, "channel=email&recipient=ops@example.com") == [3, 2, 1]
    assert ids(monitor, "recipient=other@example.com") == []
    assert ids(monitor, "channel=webhook") == []
    assert ids(monitor, "dag_id=load") == [2]
    assert ids(monitor, "incident_id=1") == [1]
    assert ids(monitor, "state=dead") == []
    assert ids(monitor, "since=2026-11-22T10:30:00Z") == [3, 2]
    assert ids(monitor, "until=2026-11-22T12:30:00%2B02:00") == [1]
    for wrong in ("kind=x", "channel=fax", "since=2026-11-22T10:30:00", "incident_id=0", "recipient="):
        assert monitor.client.get(f"/api/v1/deliveries?{wrong}").status_code == 422, wrong


def test_a_delivery_tells_its_events_with_their_reasons(monitor: Served) -> None:
    fail(monitor)
    for number in (1, 2):
        fail(monitor, number=number)
    found = get(monitor.client, "/api/v1/deliveries/2")
    assert (found["kind"], found["channel"], found["recipient"]) == ("follow_up", "email", "ops@example.com")
    assert found["notification_id"] == found["decisions"][0]["notification_id"]
    assert [one["event_seq"] for one in found["decisions"]] == [2, 3]
    assert [one["outcome"] for one in found["decisions"]] == ["notified", "grouped"]
    assert all(one["reason"] for one in found["decisions"])


def test_the_pages_of_incidents(monitor: Served) -> None:
    assert "No incident is open" in monitor.client.get("/incidents").text
    for number in range(2):
        fail(monitor, number=number)
    fail(monitor, "other")
    monitor.post([run_event("success", "other", "run_9", start=60)])
    page = monitor.client.get("/incidents").text
    is_open, has_ended = page.split('id="ended-title"')
    assert "etl fails" in is_open
    assert "2 failures" in is_open
    assert "/silences/new?incident=1" in is_open
    assert "other fails" in has_ended
    assert "resolved" in has_ended
    page = monitor.client.get("/incidents/1").text
    for words in ("etl fails", "first failure", "First notification", "Notified: ops@example.com by email"):
        assert words in page
    timeline = page.split('id="timeline"')[1]
    assert timeline.index("run_0") < timeline.index("run_1")
    assert monitor.client.get("/incidents/99", headers={"Accept": "text/html"}).status_code == 404


def test_a_failure_that_no_rule_takes_says_so(monitor: Served) -> None:
    """On the pages of the incident, its run, the events and the deliveries, and in the API."""
    rules = monitor.app.state.services.rules
    rules.path.write_text(OTHERS_ONLY)
    while not rules.look():  # read when two looks have found it the same
        pass
    event_id = fail(monitor)
    (told,) = get(monitor.client, f"/api/v1/events/{event_id}/decisions")["explanations"]
    decisions = [one for line in told["rules"] for one in line["decisions"]]
    assert [(one["outcome"], one["incident_id"]) for one in decisions] == [("suppressed", 1)]
    for path in ("/incidents/1", "/runs/local/etl/run_0", "/events/list", "/mail"):
        assert "obody was notified, because no rule matches" in monitor.client.get(path).text, path
    assert "Failures that no rule matches" in monitor.client.get("/mail").text
    fail(monitor, "other")
    for path in ("/incidents/2", "/runs/local/other/run_0"):
        assert "obody was notified" not in monitor.client.get(path).text, path


def test_acknowledging_on_the_page(monitor: Served) -> None:
    fail(monitor)
    path = "/incidents/1/acknowledge"
    assert monitor.client.post(path, data={"reason": "x"}, headers=EVIL).status_code == 403
    answer = monitor.client.post(path, data={"reason": "a ticket is open"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/incidents/1")
    assert "by local: a ticket is open" in monitor.client.get("/incidents/1").text
    assert "Acknowledged by local" in monitor.client.get("/incidents").text
    assert "(acknowledged)" in monitor.client.get("/").text
    assert monitor.client.post(path, data={"action": "take_back"}).status_code == 303
    assert "Acknowledged by" not in monitor.client.get("/incidents").text


def test_a_long_thread_shows_its_ends(monitor: Served) -> None:
    for start in range(0, 300, 50):  # a machine that is busy takes each within the client's patience
        numbers = range(start, start + 50)
        monitor.post([run_event("failed", "etl", f"run_{number}", start=number) for number in numbers])
    page = monitor.client.get("/incidents/1").text
    assert "run_0<" in page
    assert "run_299<" in page
    assert "run_60<" not in page
    assert "there is more" in page
    [older] = re.findall('href="([^"]*)" rel="next">Older events', page)
    assert "run_60<" in monitor.client.get(older).text


def test_the_page_of_deliveries_is_filtered(monitor: Served) -> None:
    fail(monitor)
    fail(monitor, "load")
    page = monitor.client.get("/mail?state=&dag_id=load&incident_id=&since=2026-11-22T09:00&until=").text
    mails = page.split('id="mails"')[1]
    assert "load" in mails
    assert "etl" not in mails
    assert 'value="2026-11-22T09:00"' in page
    assert "No delivery matches" in monitor.client.get("/mail?rule=none").text
    assert monitor.client.get("/mail?since=yesterday").status_code == 422
    assert monitor.client.get("/mail?incident_id=x").status_code == 422


def test_the_page_of_deliveries_is_paged(monitor: Served) -> None:
    for number in range(60):
        fail(monitor, f"dag_{number}")
    page = monitor.client.get("/mail?channel=email").text
    (link,) = re.findall(r'href="(/mail\?[^"]+)"', page.replace("&amp;", "&"))
    older = monitor.client.get(link).text.split('id="mails"')[1]
    assert "dag_9 " in older
    assert "dag_59" not in older


def test_the_page_of_one_delivery(monitor: Served) -> None:
    fail(monitor)
    page = monitor.client.get("/deliveries/1").text
    for words in ("run_0", "Because of rule", "failures", "/incidents/1", "What it reports, and why"):
        assert words in page


def test_an_event_that_is_forgotten_is_said_so(monitor: Served) -> None:
    """Retention forgets events, the ledger stays."""
    fail(monitor)
    monitor.app.state.services.database.write_now(lambda connection: connection.execute(delete(events)))
    assert "forgotten" in monitor.client.get("/deliveries/1").text
    assert monitor.client.get("/incidents/1").status_code == 200


@pytest.fixture
def airflow() -> Iterator[SignInAirflow]:
    every = ["etl", "payroll"]
    with SignInAirflow().serving() as airflow:
        airflow.dags[MONITOR_USER[0]] = every
        airflow.add("alice", "alice's secret", ["etl"])
        airflow.add("chief", "chief's secret", every)
        yield airflow


@pytest.fixture
def guarded(settings: Settings, airflow: SignInAirflow, clock: FakeClock) -> Iterator[Served]:
    """With sign-in; it holds an incident of each DAG, and one of none."""
    with serving(with_sign_in(settings, airflow), clock) as monitor:
        fail(monitor, "etl")
        fail(monitor, "payroll")
        trace = {"filename": "/dags/secret.py", "stacktrace": "SyntaxError"}
        error = event("airflow.dag.import_error", "import_error:1", "secret.py", moment(1), trace)
        assert monitor.post([error]).json()["accepted"] == 1
        yield monitor


@pytest.fixture
def browser(guarded: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, headers={"Accept": "text/html"}) as browser:
        yield browser


def sign_in(browser: httpx.Client, user: str) -> dict[str, str]:
    """Answers the header that effects need."""
    browser.cookies.clear()
    assert try_to_sign_in(browser, user, f"{user}'s secret").status_code == 303
    return {"X-CSRF-Token": hidden("csrf", browser.get("/").text)}


def test_who_sees_which_incident(browser: httpx.Client) -> None:
    for user, seen in (("alice", {"etl"}), ("chief", {"etl", "payroll", None})):
        csrf = sign_in(browser, user)
        found = get(browser, "/api/v1/incidents")["incidents"]
        assert {one["dag_id"] for one in found} == seen
        kinds = {"payroll fails", "secret.py cannot be imported"}
        for path in ("/incidents", "/"):
            page = browser.get(path).text
            assert [words in page for words in kinds] == [user == "chief"] * 2
        for number in (1, 2, 3):
            status = 200 if number == 1 or user == "chief" else 404
            for path in (f"/incidents/{number}", f"/api/v1/incidents/{number}"):
                assert browser.get(path).status_code == status
            path = f"/api/v1/incidents/{number}/acknowledgement"
            assert browser.post(path, json={"reason": "x"}).status_code == 403
            acked = browser.post(path, json={"reason": "x"}, headers=csrf)
            assert acked.status_code == status
            assert status == 404 or acked.json()["acknowledged_by"] == user
            assert browser.delete(path, headers=csrf).status_code == status
            if status == 404:
                path = f"/api/v1/incidents/{number}/assignee"
                assert browser.post(path, headers=csrf).status_code == 404
                assert browser.delete(path, headers=csrf).status_code == 404
                path = f"/api/v1/incidents/{number}/close"
                assert browser.post(path, json={"reason": "x"}, headers=csrf).status_code == 404
                form = {"reason": "x"}
                assert browser.post(f"/incidents/{number}/close", data=form, headers=csrf).status_code == 404


def test_who_sees_which_delivery_and_decision(browser: httpx.Client) -> None:
    ids = {dag: run_id_of(dag, "run_0", START, None, "failed") for dag in ("etl", "payroll")}
    for user in ("alice", "chief"):
        sign_in(browser, user)
        found = get(browser, "/api/v1/deliveries")["deliveries"]
        seen = {"etl"} if user == "alice" else {"etl", "payroll", None}
        assert {one["dag_id"] for one in found} == seen
        for dag, event_id in ids.items():
            status = 200 if dag == "etl" or user == "chief" else 404
            assert browser.get(f"/api/v1/events/{event_id}/decisions").status_code == status


def test_a_bearer_token_acknowledges_without_csrf(guarded: Served, airflow: SignInAirflow) -> None:
    bearer = {"Authorization": f"Bearer {airflow.token('alice')}"}
    path = "/api/v1/incidents/{}/acknowledgement"
    answer = guarded.client.post(path.format(1), json={"reason": "x"}, headers=bearer)
    assert answer.json()["acknowledged_by"] == "a program (bearer token)"
    answer = guarded.client.post(path.format(2), json={"reason": "x"}, headers=bearer)
    assert answer.status_code == 404
