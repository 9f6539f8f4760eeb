"""A user who may read one DAG of three sees nothing of the others, on any surface."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from monitor.notifications.outbox import queries
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.settings import Settings
from tests.sample import asset_event, run_event
from tests.unit.conftest import FakeClock
from tests.unit.surfaces import Surface, surfaces
from tests.unit.three_dags import OTHERS, OWN, fill, write_rules
from tests.unit.web.auth.test_authenticator import airflow
from tests.unit.web_support import (
    MONITOR_USER,
    FeedReader,
    Served,
    SignInAirflow,
    hidden,
    serving,
    try_to_sign_in,
    with_sign_in,
)

__all__ = ["airflow"]

FOREIGN = re.compile("|".join(OTHERS), re.IGNORECASE)
QUERIES = (
    "",
    "dag_id=*",
    "deployment=local",
    "type=airflow.*",
    "task_id=*",
    "run_id=*",
    "asset=*",
    "state=failed",
    "state=sent",
    "state=open",
    "state=closed",
    "limit=1",
    "limit=500",
    "cursor=1000000",
    "active=true",
    "kind=failure",
    "channel=email",
    "rule=all%20together",
    "incident_id=2",
    "recipient=ops@example.com",
    "since=2020-01-01T00:00:00Z",
    f"dag_id={OWN}",
)
"""Filters and places of lists; an endpoint that does not know one refuses it."""


@dataclass
class Visitor:
    monitor: Served
    values: dict[str, dict[str, object]]
    """Of paths' parameters, by DAG."""
    cookie: dict[str, str]
    token: dict[str, str]

    def pages(self) -> list[Surface]:
        found = [one for one in surfaces(self.monitor.app) if not one.is_effect and one.path != "/events"]
        known = set(self.values[OWN])
        assert [one.name for one in found if not set(one.parameters) <= known] == [], (
            "say in three_dags.py what to ask"
        )
        return found


@pytest.fixture(params=["sqlite", "postgresql"])
def visitor(
    request: pytest.FixtureRequest, settings: Settings, airflow: SignInAirflow, clock: FakeClock
) -> Iterator[Visitor]:
    on_postgres = request.param == "postgresql"
    changes = {
        "database_url": request.getfixturevalue("postgres_url") if on_postgres else "",
        "confirm_grace": 0,
    }
    airflow.dags[MONITOR_USER[0]] = [OWN, *OTHERS]
    airflow.add("alice", "alice's secret", [OWN])
    write_rules(settings.home)
    with serving(with_sign_in(settings, airflow).model_copy(update=changes), clock) as monitor:
        values = fill(monitor, clock)
        with httpx.Client(base_url=monitor.url, headers={"Accept": "text/html"}) as browser:
            assert try_to_sign_in(browser, "alice", "alice's secret").status_code == 303
            csrf = {"X-CSRF-Token": hidden("csrf", browser.get("/").text)}
            made = browser.post("/api/v1/tokens", json={"name": "t", "scopes": ["read"]}, headers=csrf).json()
            cookie = {"Cookie": f"windsock_session={browser.cookies['windsock_session']}"}
        values[OWN]["token_id"] = made["id"]
        yield Visitor(monitor, values, cookie, {"Authorization": f"Bearer {made['secret']}"})


def foreign_words(answer: httpx.Response) -> set[str]:
    told = answer.text + "".join(f"{name}: {value}\n" for name, value in answer.headers.items())
    return {told[max(0, found.start() - 60) : found.end() + 20] for found in FOREIGN.finditer(told)}


@pytest.mark.slow
def test_no_page_and_no_answer_names_them(visitor: Visitor) -> None:
    leaks, seen_own = {}, 0
    for surface in visitor.pages():
        for query in QUERIES:
            path = surface.at(visitor.values[OWN], query)
            for headers in (visitor.cookie, visitor.token) if not query else (visitor.cookie,):
                answer = visitor.monitor.client.get(path, headers=headers | {"Accept": "text/html"})
                assert answer.status_code < 500, path
                seen_own += OWN in answer.text
                if words := foreign_words(answer):
                    leaks[path] = words
    assert leaks == {}
    assert seen_own > 50  # or it would have looked at nothing


def test_what_is_theirs_is_not_there(visitor: Visitor) -> None:
    found = {}
    for surface in visitor.pages():
        if not set(surface.parameters) - {"name", "token"}:
            continue
        for dag in OTHERS:
            path = surface.at(visitor.values[dag])
            for headers in (visitor.cookie, visitor.token):
                answer = visitor.monitor.client.get(path, headers=headers)
                if answer.status_code != 404 or (dag not in path and foreign_words(answer)):
                    found[path] = answer.status_code
    assert {path: status for path, status in found.items() if not path.endswith("tokens/1")} == {}


@pytest.mark.parametrize("kind", ["text/event-stream", "application/x-ndjson"])
def test_no_replay_tells_of_them(visitor: Visitor, kind: str) -> None:
    for headers in (visitor.cookie, visitor.token):
        told = ""
        asked = {"headers": headers | {"Accept": kind}}
        url = "/events?since=2020-01-01T00:00:00Z"
        with visitor.monitor.client.stream("GET", url, headers=asked["headers"]) as answer:
            assert answer.status_code == 200
            for chunk in answer.iter_text():
                told += chunk
                if f"last__{OWN}" in told and "asset_event:50" in told:  # the two that came last
                    break
        assert FOREIGN.findall(told) == []


def test_no_live_feed_tells_of_them(visitor: Visitor) -> None:
    began = [{"dag_id": OTHERS[0], "run_id": OTHERS[0]}, {"dag_id": OWN, "run_id": "own run"}]
    for headers in (visitor.cookie, visitor.token):
        with FeedReader(visitor.monitor.url, headers=headers) as reader:
            for number, dag in enumerate((*OTHERS, OWN)):
                event = asset_event(
                    id(reader) + number, f"file:///{dag}.pkl", source_dag_id=dag, created_dagruns=began
                )
                visitor.monitor.post([event, run_event(dag_id=dag, run_id=f"live__{dag}_{id(reader)}")])
            first, _ = reader.wait_for(2)
            assert first["data"]["created_dagruns"] == [began[1]]
            assert FOREIGN.findall(str(reader.events)) == []


def test_a_text_that_tells_of_several_dags_is_for_those_who_read_them_all(visitor: Visitor) -> None:
    """The rule `all together` made one mail of three failures, and the first of them is the own DAG's."""
    services = visitor.monitor.app.state.services
    wanted = DeliveryFilter(rule="all together")
    (together,) = services.database.read_now(
        lambda connection: queries.deliveries(connection, 9, delivery_filter=wanted)
    )
    assert together.dag_id == OWN
    assert FOREIGN.search(str(together.subject)) or together.subject
    for path in (f"/deliveries/{together.id}", f"/api/v1/deliveries/{together.id}"):
        assert visitor.monitor.client.get(path, headers=visitor.cookie).status_code == 404


def test_who_reads_every_dag_sees_all_of_it(visitor: Visitor, airflow: SignInAirflow) -> None:
    """Or the tests beside this one would prove nothing."""
    airflow.add("chief", "chief's secret", [OWN, *OTHERS])
    with httpx.Client(base_url=visitor.monitor.url, headers={"Accept": "text/html"}) as browser:
        try_to_sign_in(browser, "chief", "chief's secret")
        for path in (
            "/",
            "/events/list",
            "/mail",
            "/incidents",
            "/silences",
            "/settings",
            "/tokens",
            "/api/v1/runs",
            "/api/v1/assets",
            "/api/v1/deliveries",
        ):
            for dag in OTHERS:
                assert dag in browser.get(path).text, path
        letters = re.findall(r"/mail/[0-9a-f-]+", browser.get("/mail").text)
        assert any(OTHERS[0] in browser.get(f"{letter}/html").text for letter in letters)
