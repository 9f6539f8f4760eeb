"""Each endpoint, by the app's own routes, and everybody whom it has to refuse."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from itsdangerous import Signer

from monitor.app import create_app
from monitor.settings import Settings
from monitor.settings_loading import load_settings
from monitor.web.auth import tokens
from monitor.web.auth.permissions import RIGHTS_SECONDS
from monitor.web.auth.sessions import SESSION_SECONDS
from monitor.web.auth.tokens import Draft, Owner, Scope
from monitor.web.pages.login import own_path
from monitor.web.security import HEADERS
from tests import wait
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.surfaces import OPEN, Surface, surfaces
from tests.unit.web.auth.test_authenticator import ALICE, airflow
from tests.unit.web_support import (
    MONITOR_USER,
    FeedReader,
    Served,
    SignInAirflow,
    follows_the_rights,
    hidden,
    serving,
    try_to_sign_in,
    with_sign_in,
)

__all__ = ["airflow"]

Headers = dict[str, str]
ALIKE = {"GET /templates/{name}", "GET /templates/{name}/html"}
"""With a name in the path, and the same for everybody."""


@dataclass
class House:
    """A monitor that holds something of alice's in each room, and everybody's keys."""

    monitor: Served
    alice: Headers
    """Her cookie and the token that her forms send back."""
    values: dict[str, object]
    """Of each path's parameters: what is alice's."""

    def ask(self, surface: Surface, headers: Headers, query: str = "") -> httpx.Response:
        path = surface.at(self.values, query)
        with self.monitor.client.stream(surface.method, path, headers=headers, **surface.sent) as answer:  # type: ignore[arg-type]
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                answer.read()
            return answer

    def guarded(self) -> list[Surface]:
        return [one for one in surfaces(self.monitor.app) if not one.is_open]

    def effects(self) -> list[Surface]:
        return [one for one in self.guarded() if one.is_effect]

    def token(
        self, *scopes: Scope, dag_id: str = "etl", user: str = "alice", days: int = 1
    ) -> tuple[int, Headers]:
        services, dags = self.monitor.app.state.services, frozenset({("local", dag_id)})
        draft = Draft("key", frozenset(scopes), dags, timedelta(days=days))
        made, secret = services.database.write_now(
            lambda connection: tokens.add(
                connection, draft, Owner(user, frozenset({"local"})), services.clock()
            )
        )
        return made.id, {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def house(settings: Settings, airflow: SignInAirflow, clock: FakeClock) -> Iterator[House]:
    airflow.dags[MONITOR_USER[0]] = ["etl", "training", "payroll", "nobodys"]
    proxied = {"trusted_proxies": ("127.0.0.1",), "confirm_grace": 0}
    with serving(with_sign_in(settings, airflow).model_copy(update=proxied), clock) as monitor:
        monitor.post([task_event("failed"), asset_event(1), run_event("failed")])
        with httpx.Client(base_url=monitor.url, headers={"Accept": "text/html"}) as browser:
            assert try_to_sign_in(browser, *ALICE).status_code == 303
            csrf = hidden("csrf", browser.get("/").text)
            cookie = browser.cookies["windsock_session"]
        alice = {"Cookie": f"windsock_session={cookie}", "X-CSRF-Token": csrf}
        yield House(monitor, alice, _rooms(monitor, alice))


def _rooms(monitor: Served, alice: Headers) -> dict[str, object]:
    silence = {"match": {"deployment": "local", "dag_id": "etl"}, "reason": "x", "duration": "1h"}
    made = monitor.client.post("/api/v1/silences", json=silence, headers=alice)
    token = monitor.client.post("/api/v1/tokens", json={"name": "t", "scopes": ["read"]}, headers=alice)
    assert (made.status_code, token.status_code) == (201, 201)
    mailbox = monitor.app.state.services.mailbox
    wait.until(lambda: mailbox.mails(1), "the mail of the failure")
    return {
        "deployment": "local",
        "dag_id": "etl",
        "run_id": "manual__1",
        "task_id": "load",
        "map_index": -1,
        "uri": "file:///model.pkl",
        "asset": "file:///model.pkl",
        "event_id": run_event("failed")["id"],
        "delivery_id": 1,
        "incident_id": 1,
        "silence_id": made.json()["id"],
        "token_id": token.json()["id"],
        "letter_id": mailbox.mails(1)[0].id,
        "name": "run_failed",
    }


def strangers(house: House, clock: FakeClock) -> dict[str, Headers]:
    """Everybody who has no key, or a wrong one, or one that counts no more."""
    cookie = house.alice["Cookie"].partition("=")[2]
    session = cookie.rpartition(".")[0]
    forged = (
        Signer("another key", salt="windsock-session", digest_method=hashlib.sha256).sign(session).decode()
    )
    revoked_id, revoked = house.token(Scope.ADMIN)
    live = house.token(Scope.ADMIN, days=2)[1]["Authorization"]
    write = house.monitor.app.state.services.database.write_now
    write(lambda connection: tokens.revoke(connection, tokens.EVERYONE, revoked_id, clock()))
    expired = house.token(Scope.ADMIN, days=0)[1]
    basic = base64.b64encode(f"alice:{live.removeprefix('Bearer ')}".encode()).decode()
    return {
        "nobody": {},
        "a cookie signed by another": {"Cookie": f"windsock_session={forged}"},
        "a cookie without a signature": {"Cookie": f"windsock_session={session}"},
        "a cookie that was cut": {"Cookie": f"windsock_session={cookie[:-1]}"},
        "an empty cookie": {"Cookie": "windsock_session="},
        "a token as a cookie": {"Cookie": f"windsock_session={live.removeprefix('Bearer ')}"},
        "the token of a form alone": {"X-CSRF-Token": house.alice["X-CSRF-Token"]},
        "a revoked token": revoked,
        "an expired token": expired,
        "a token that was never made": {"Authorization": "Bearer wst_" + "A" * 43},
        "a token in other letters": {"Authorization": live.swapcase()},
        "a token's hash": {"Authorization": f"Bearer {tokens.hash_of(live.removeprefix('Bearer '))}"},
        "no Airflow token": {"Authorization": "Bearer eyJhbGciOiJub25lIn0.e30."},
        "no token": {"Authorization": "Bearer"},
        "a password": {"Authorization": f"Basic {basic}"},
    }


def refuses(surface: Surface, answer: httpx.Response) -> bool:
    if surface.is_for_programs:
        kind = answer.headers["content-type"]
        return answer.status_code == 401 and kind == "application/problem+json"
    return answer.status_code == 303 and answer.headers["location"].startswith("/login?next=")


def test_what_is_open_is_there(tmp_path: Path) -> None:
    """The list names nothing that is gone: what comes by that name later would be open."""
    app = create_app(load_settings(env_file=None, auth="none", home=tmp_path))
    assert set(OPEN) <= {one.name for one in surfaces(app)}


def test_each_endpoint_refuses_each_stranger(house: House, clock: FakeClock) -> None:
    let_in = []
    for number, (who, headers) in enumerate(strangers(house, clock).items()):
        for room, surface in enumerate(house.guarded()):
            address = {
                "X-Forwarded-For": f"203.0.{number}.{room}"
            }  # or the throttle would refuse most of them
            answer = house.ask(surface, headers | address)
            if not refuses(surface, answer):
                let_in.append(f"{surface.name}: {who}: {answer.status_code}")
    assert let_in == []


def test_no_token_is_taken_from_an_address(house: House) -> None:
    _, key = house.token(Scope.ADMIN)
    secret = key["Authorization"].removeprefix("Bearer ")
    for surface in house.guarded():
        for name in ("token", "access_token"):
            assert refuses(surface, house.ask(surface, {}, f"{name}={secret}")), surface.name


def test_the_owner_comes_in_everywhere(house: House) -> None:
    """Or the tests beside this one would prove nothing."""
    by_token = house.token(Scope.ADMIN)[1]
    pages = (one for one in house.guarded() if not one.is_effect)
    statuses = {
        surface.name: {house.ask(surface, headers).status_code for headers in (house.alice, by_token)}
        for surface in pages
    }
    assert statuses.pop("GET /settings") == {403}  # which is for those who read every DAG
    assert {name: seen for name, seen in statuses.items() if seen != {200}} == {}


def test_another_users_key_opens_nothing_of_alices(house: House, airflow: SignInAirflow) -> None:
    _, windsocks = house.token(Scope.ADMIN, dag_id="payroll", user="bob")
    airflows = {"Authorization": f"Bearer {airflow.token('bob')}"}
    rooms = [one for one in house.guarded() if one.parameters and one.name not in ALIKE]
    for bob in (windsocks, airflows):
        statuses = {one.name: house.ask(one, bob).status_code for one in rooms}
        assert {name: status for name, status in statuses.items() if status != 404} == {}


def test_a_token_does_what_its_scopes_say(house: House) -> None:
    may = []
    reading, sending = house.token(Scope.READ)[1], house.token(Scope.INGEST)[1]
    for surface in house.guarded():
        for headers, wanted in ((reading, "admin"), (sending, "admin" if surface.is_effect else "read")):
            if headers is reading and not surface.is_effect:
                continue
            answer = house.ask(surface, headers)
            if answer.status_code != 403 or f"'{wanted}'" not in answer.text.replace("&#39;", "'"):
                may.append(f"{surface.name}: {wanted}: {answer.status_code}")
    assert may == []


def test_each_effect_needs_the_token_of_the_session(house: House) -> None:
    cookie: Headers = {"Cookie": house.alice["Cookie"]}
    for given in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "guess"}):
        statuses = {one.name: house.ask(one, cookie | given).status_code for one in house.effects()}
        assert {name: status for name, status in statuses.items() if status != 403} == {}


@pytest.mark.parametrize(
    "foreign",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Origin": "//[::1"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    ],
)
def test_no_page_of_another_site_has_an_effect(house: House, foreign: Headers) -> None:
    house.values["token"] = "any"
    every = [
        one
        for one in surfaces(house.monitor.app)
        if one.is_effect and one.name != "POST /links/unsubscribe/{token}"
    ]
    statuses = {one.name: house.ask(one, house.alice | foreign).status_code for one in every}
    assert {name: status for name, status in statuses.items() if status != 403} == {}


def test_nothing_of_alices_was_changed_by_all_that(house: House, clock: FakeClock) -> None:
    """What was refused was refused before it did something."""
    client, alice = house.monitor.client, house.alice

    def standing() -> list[object]:
        paths = ("incidents/1", f"silences/{house.values['silence_id']}", "deliveries/1", "tokens")
        return [client.get(f"/api/v1/{path}", headers=alice).json() for path in paths]

    _, bob = house.token(Scope.ADMIN, dag_id="payroll", user="bob")
    before = standing()
    for surface in house.effects():
        house.ask(surface, {"Cookie": alice["Cookie"]})
        house.ask(surface, alice | {"Sec-Fetch-Site": "cross-site"})
        if surface.parameters:
            house.ask(surface, bob)
    assert standing() == before


def test_each_answer_bears_the_headers(house: House) -> None:
    for surface in surfaces(house.monitor.app):
        house.values["token"] = "any"
        if surface.path == "/logout":
            continue
        for headers in ({}, house.alice):
            answer = house.ask(surface, headers)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy, surface.name
            assert "unsafe-eval" not in policy
            assert "script-src 'self'" in policy or "sandbox" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "same-origin"
            # What is polled may be kept by the browser it is for, and is asked for again each time.
            assert answer.headers["cache-control"] in ("no-store", "private, no-cache")
            assert "access-control-allow-origin" not in answer.headers


def session_of(answer: httpx.Response) -> str:
    """The session's cookie as an answer sets it."""
    found = (line.partition(";")[0] for line in answer.headers.get_list("set-cookie"))
    return next(
        value for line in found for name, _, value in [line.partition("=")] if name == "windsock_session"
    )


def test_signing_in_gives_another_session_each_time_whatever_was_planted(house: House) -> None:
    with httpx.Client(base_url=house.monitor.url, headers={"Accept": "text/html"}) as browser:
        browser.cookies.set("windsock_session", "planted", domain="127.0.0.1")
        seen = {session_of(try_to_sign_in(browser, *ALICE)) for _ in range(2)}
        assert len(seen - {"planted"}) == 2


def test_a_session_that_signs_in_anew_is_left_behind_by_nobody(house: House) -> None:
    with httpx.Client(base_url=house.monitor.url, headers={"Accept": "text/html"}) as browser:
        assert try_to_sign_in(browser, *ALICE).status_code == 303
        before = {"Cookie": f"windsock_session={browser.cookies['windsock_session']}"}
        assert try_to_sign_in(browser, "bob", "bob's secret").status_code == 303
    assert house.monitor.client.get("/api/v1/runs", headers=before).status_code == 401


@pytest.mark.parametrize(
    "target",
    [
        "/\t/evil.example",
        "/%09/evil.example\r\nX-Evil: 1",
        "/a\r\nX-Evil: 1",
        "//evil.example",
        "/\\evil.example",
        "\\/evil.example",
        "/ops//evil.example"[4:],
        "https:evil.example",
        "///evil",
        "/x\x00",
    ],
)
def test_signing_in_leads_to_no_other_site_and_into_no_other_header(house: House, target: str) -> None:
    assert own_path(target) == "/"
    with httpx.Client(base_url=house.monitor.url, headers={"Accept": "text/html"}) as browser:
        page = browser.get("/login", params={"next": target})
        assert hidden("next", page.text) == "/"
        form = {"username": ALICE[0], "password": ALICE[1], "csrf": hidden("csrf", page.text), "next": target}
        answer = browser.post("/login", data=form)
        assert answer.headers["location"] == "/"
        assert "x-evil" not in answer.headers


@pytest.mark.parametrize("headers", [{"Origin": "http://["}, {"Origin": "//[::1"}, {"Host": "["}])
def test_a_header_that_cannot_be_read_is_refused_with_the_usual_headers(
    house: House, headers: Headers
) -> None:
    with httpx.Client(base_url=house.monitor.url) as browser:
        request = browser.build_request("POST", "/login", headers=headers)
        answer = browser.send(request)
    assert 400 <= answer.status_code < 500
    assert {name.lower() for name in HEADERS} <= set(answer.headers)


@pytest.mark.parametrize("path", ["/api/v1/runs/", "/runs/", "/health/"])
def test_a_host_header_leads_nobody_to_another_server(house: House, path: str) -> None:
    answer = httpx.get(house.monitor.url + path, headers={"Host": "evil.example"})
    assert "evil.example" not in answer.headers.get("location", "")


def test_a_name_in_a_path_gets_into_no_header(house: House) -> None:
    for path in (
        "/runs/local/etl/a%0d%0aX-Evil:%201",
        "/runs/local/etl/a?b=%0d%0aX-Evil:1",
        "/%0d%0aX-Evil:1",
    ):
        answer = house.monitor.client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code in (303, 404)
        assert "x-evil" not in answer.headers


def test_a_feed_goes_on_without_the_dag_that_was_taken_away_and_ends_with_the_session(
    house: House, airflow: SignInAirflow, clock: FakeClock
) -> None:
    with FeedReader(house.monitor.url, headers={"Cookie": house.alice["Cookie"]}) as reader:
        house.monitor.post([run_event(run_id="2")])
        reader.wait_for(1)
        airflow.dags["alice"] = ["payroll"]
        clock.forward(RIGHTS_SECONDS)
        assert follows_the_rights(house.monitor, reader, gone="etl", come="payroll")
        clock.forward(SESSION_SECONDS)
        wait.until(reader.ended.is_set, "the feed to end, without any event")
        assert reader.error is None


def test_a_feed_ends_when_its_token_expires(house: House, clock: FakeClock) -> None:
    _, key = house.token(Scope.READ)
    with FeedReader(house.monitor.url, headers=key) as reader:
        house.monitor.post([run_event(run_id="2")])
        reader.wait_for(1)
        clock.forward(timedelta(days=1).total_seconds())
        wait.until(reader.ended.is_set, "the feed to end, without any event")
        assert reader.error is None
