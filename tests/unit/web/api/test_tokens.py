"""Windsock tokens at the monitor's door: what they open, for how long, who makes, sees and ends them."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from monitor.settings import Settings
from monitor.web.auth import rate_limit, tokens
from monitor.web.auth.token_lookup import LOOKUP_SECONDS
from monitor.web.auth.tokens import (
    DEFAULT_LIFE,
    USE_SECONDS,
    Draft,
    Owner,
    Scope,
    TokenOwnerFilter,
)
from tests import wait
from tests.sample import run_event
from tests.unit.conftest import FakeClock
from tests.unit.web.auth.test_authenticator import ALICE, airflow, browser, fill, monitor
from tests.unit.web_support import (
    MONITOR_USER,
    FeedReader,
    Served,
    SignInAirflow,
    hidden,
    serving,
    try_to_sign_in,
)

__all__ = ["airflow", "browser", "monitor"]

API = "/api/v1/tokens"
EVERY = ["etl", "training", "payroll", "nobodys"]


def signed_in(browser: httpx.Client, user: str = ALICE[0], password: str = ALICE[1]) -> dict[str, str]:
    """Sign in anew; answers the header that effects need."""
    browser.cookies.clear()
    assert try_to_sign_in(browser, user, password).status_code == 303
    return {"X-CSRF-Token": hidden("csrf", browser.get("/").text)}


def chief(browser: httpx.Client, airflow: SignInAirflow) -> dict[str, str]:
    """Sign in somebody who may read every DAG."""
    airflow.dags[MONITOR_USER[0]] = EVERY
    airflow.add("chief", "chief's secret", EVERY)
    return signed_in(browser, "chief", "chief's secret")


def made(client: httpx.Client, headers: dict[str, str], **given: Any) -> dict[str, Any]:
    answer = client.post(API, json={"name": "t", "scopes": ["read"], **given}, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    told: dict[str, Any] = answer.json()
    return told


def bearer(token: dict[str, Any] | str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token if isinstance(token, str) else token['secret']}"}


def machine_token(monitor: Served, *scopes: Scope) -> str:
    """As `windsock token create` makes one."""
    services, draft = monitor.app.state.services, Draft("machine", frozenset(scopes), None)
    made = services.database.write_now(
        lambda connection: tokens.add(connection, draft, None, services.clock())
    )
    return str(made[1])


def test_a_token_reads_what_its_creator_reads(browser: httpx.Client, monitor: Served) -> None:
    csrf = signed_in(browser)
    fill(monitor)
    token = made(browser, csrf, name="screen")
    assert (token["dags"], token["created_by"], token["state"]) == (2, "alice", "active")
    for path in ("/api/v1/runs", "/api/v1/events", "/"):
        answer = monitor.client.get(path, headers=bearer(token))
        assert answer.status_code == 200
        assert "etl" in answer.text
        assert "payroll" not in answer.text
    listed = browser.get(API).json()["tokens"]
    assert [one["id"] for one in listed] == [token["id"]]
    assert "secret" not in listed[0]
    assert "hash" not in listed[0]


def test_a_token_needs_no_airflow(browser: httpx.Client, monitor: Served, airflow: SignInAirflow) -> None:
    token = made(browser, signed_in(browser))
    fill(monitor)
    airflow.away = True
    airflow.tokens.clear()
    asked = airflow.asked
    assert monitor.client.get("/api/v1/runs", headers=bearer(token)).status_code == 200
    assert airflow.asked == asked


def test_dags_can_be_fewer_and_never_others(browser: httpx.Client, monitor: Served) -> None:
    csrf = signed_in(browser)
    token = made(browser, csrf, dags=["et*"])
    assert token["dags"] == 1
    for glob in ("payroll", "nothing*"):
        refused = browser.post(API, json={"name": "t", "scopes": ["read"], "dags": [glob]}, headers=csrf)
        assert refused.status_code == 422
        assert repr(glob) in refused.json()["detail"]


def test_a_reading_token_has_no_effect_and_says_which_scope_it_lacks(
    browser: httpx.Client, monitor: Served
) -> None:
    csrf = signed_in(browser)
    monitor.post([run_event("failed")])
    reading, acting = made(browser, csrf), made(browser, csrf, scopes=["admin"])
    refused = monitor.client.post("/api/v1/deliveries/1/resend", headers=bearer(reading))
    assert refused.status_code == 403
    assert refused.headers["content-type"] == "application/problem+json"
    assert "'admin'" in refused.json()["detail"]
    assert 'scope="admin"' in refused.headers["www-authenticate"]
    acknowledged = monitor.client.post(
        "/api/v1/incidents/1/acknowledgement", json={"reason": "seen"}, headers=bearer(acting)
    )
    assert acknowledged.status_code == 200
    assert acknowledged.json()["acknowledged_by"] == "token 't' of alice"
    assert monitor.client.get("/api/v1/runs", headers=bearer(acting)).status_code == 200


def test_an_ingest_token_stands_for_a_signature_and_reads_nothing(monitor: Served) -> None:
    headers = bearer(machine_token(monitor, Scope.INGEST)) | {
        "Content-Type": "application/cloudevents-batch+json"
    }
    told = monitor.client.post("/api/v1/events", json=[run_event()], headers=headers)
    assert (told.status_code, told.json()["accepted"]) == (202, 1)
    for path in ("/api/v1/runs", "/events", "/"):
        assert monitor.client.get(path, headers=headers).status_code == 403
    reading = headers | bearer(machine_token(monitor, Scope.READ, Scope.ADMIN))
    refused = monitor.client.post("/api/v1/events", json=[run_event()], headers=reading)
    assert (refused.status_code, "'ingest'" in refused.json()["detail"]) == (403, True)
    wrong = monitor.client.post("/api/v1/events", json=[run_event()], headers=headers | bearer("wst_guess"))
    assert (wrong.status_code, "no such token" in wrong.json()["detail"]) == (401, True)
    assert "parts" not in monitor.client.get("/health", headers=headers).json()


def test_ingest_takes_the_right_to_read_every_dag(
    browser: httpx.Client, monitor: Served, airflow: SignInAirflow
) -> None:
    airflow.dags[MONITOR_USER[0]] = EVERY
    few = browser.post(API, json={"name": "t", "scopes": ["ingest"]}, headers=signed_in(browser))
    assert (few.status_code, "'ingest'" in few.json()["detail"]) == (403, True)
    every = made(browser, chief(browser, airflow), scopes=["ingest", "read"])
    assert every["dags"] is None
    monitor.post([run_event(dag_id="one_of_tomorrow")])
    assert "one_of_tomorrow" in monitor.client.get("/api/v1/runs", headers=bearer(every)).text


def test_no_token_makes_one_that_may_more_or_lives_longer(browser: httpx.Client, monitor: Served) -> None:
    csrf = signed_in(browser)
    reading = made(browser, csrf)
    assert (
        monitor.client.post(API, json={"name": "t", "scopes": ["read"]}, headers=bearer(reading)).status_code
        == 403
    )
    acting = bearer(made(browser, csrf, scopes=["admin"], expires_in="30d", dags=["etl"]))
    for changes, status in (({"scopes": ["ingest"]}, 403), ({"expires_in": "31d"}, 422), ({}, 422)):
        given = {"name": "t", "scopes": ["read"], **changes}
        assert monitor.client.post(API, json=given, headers=acting).status_code == status
    child = made(monitor.client, acting, expires_in="29d", scopes=["admin"])
    assert (child["created_by"], child["dags"]) == ("alice", 1)


def test_what_a_leaked_token_made_is_revoked_with_it(
    browser: httpx.Client, monitor: Served, clock: FakeClock
) -> None:
    csrf = signed_in(browser)
    leaked = made(browser, csrf, scopes=["admin"], expires_in="30d")
    child = made(monitor.client, bearer(leaked), scopes=["admin"], expires_in="20d")
    grandchild = made(monitor.client, bearer(child), expires_in="10d")
    own = made(browser, csrf)
    # By another replica: this one knows the child as in force for some seconds more.
    write, whose = (
        monitor.app.state.services.database.write_now,
        TokenOwnerFilter(owner=Owner("alice", frozenset({"local"}))),
    )
    write(lambda connection: tokens.revoke(connection, whose, leaked["id"], clock()))
    answer = monitor.client.post(
        API, json={"name": "t", "scopes": ["read"], "expires_in": "1d"}, headers=bearer(child)
    )
    assert answer.status_code == 401
    assert "was revoked" in answer.json()["detail"]
    for token, status in ((leaked, 401), (child, 401), (grandchild, 401), (own, 200)):
        assert monitor.client.get("/api/v1/runs", headers=bearer(token)).status_code == status


def test_airflows_token_makes_none_for_nobody_knows_whose_it_would_be(
    monitor: Served, airflow: SignInAirflow
) -> None:
    headers = {"Authorization": f"Bearer {airflow.token('alice')}"}
    machine_token(monitor, Scope.READ)
    refused = monitor.client.post(API, json={"name": "t", "scopes": ["read"]}, headers=headers)
    assert (refused.status_code, "sign in" in refused.json()["detail"]) == (403, True)
    assert monitor.client.get(API, headers=headers).json()["tokens"] == []
    assert monitor.client.delete(f"{API}/1", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes"),
        ({"expires_in": "366d"}, "expires_in"),
        ({"expires_in": "1s"}, "expires_in"),
        ({"expires_in": 90}, "expires_in"),
        ({"dags": [""]}, "dags"),
        ({"for_ever": True}, "for_ever"),
    ],
)
def test_what_is_wrong_with_a_token_is_named(
    browser: httpx.Client, changes: dict[str, Any], word: str
) -> None:
    csrf = signed_in(browser)
    refused = browser.post(API, json={"name": "t", "scopes": ["read"], **changes}, headers=csrf)
    assert (refused.status_code, word in refused.json()["detail"]) == (422, True)


def test_each_sees_and_revokes_the_own_tokens(
    browser: httpx.Client, monitor: Served, airflow: SignInAirflow
) -> None:
    airflow.dags[MONITOR_USER[0]] = EVERY
    alices = made(browser, signed_in(browser), name="alice's own")
    bobs_csrf = signed_in(browser, "bob", "bob's secret")
    assert browser.get(API).json()["tokens"] == []
    assert "alice" not in browser.get("/tokens").text
    assert browser.delete(f"{API}/{alices['id']}", headers=bobs_csrf).status_code == 404
    assert browser.post(f"/tokens/{alices['id']}/revoke", headers=bobs_csrf).status_code == 404
    csrf = chief(browser, airflow)
    assert [one["name"] for one in browser.get(API).json()["tokens"]] == ["alice's own"]
    assert browser.delete(f"{API}/{alices['id']}").status_code == 403  # without the session's token
    ended = browser.delete(f"{API}/{alices['id']}", headers=csrf)
    assert (ended.status_code, ended.json()["state"]) == (200, "revoked")
    assert monitor.client.get("/api/v1/runs", headers=bearer(alices)).status_code == 401


def test_a_token_ends_by_itself(browser: httpx.Client, monitor: Served, clock: FakeClock) -> None:
    token = made(browser, signed_in(browser))
    clock.forward(DEFAULT_LIFE.total_seconds())
    answer = monitor.client.get("/api/v1/runs", headers=bearer(token))
    assert (answer.status_code, "has expired" in answer.json()["detail"]) == (401, True)


def test_a_feed_ends_with_its_token(browser: httpx.Client, monitor: Served) -> None:
    csrf = signed_in(browser)
    token = made(browser, csrf)
    with FeedReader(monitor.url, headers=bearer(token)) as reader:
        fill(monitor)
        assert "payroll" not in str(reader.wait_for(3))
        assert browser.delete(f"{API}/{token['id']}", headers=csrf).status_code == 200
        wait.until(reader.ended.is_set, "the feed to end, without any event")
        assert reader.error is None


def test_what_another_process_revokes_is_known_within_seconds(
    browser: httpx.Client, monitor: Served, clock: FakeClock
) -> None:
    token = made(browser, signed_in(browser))
    assert monitor.client.get("/api/v1/runs", headers=bearer(token)).status_code == 200
    write = monitor.app.state.services.database.write_now
    write(lambda connection: tokens.revoke(connection, tokens.EVERYONE, token["id"], clock()))
    clock.forward(LOOKUP_SECONDS)
    assert monitor.client.get("/api/v1/runs", headers=bearer(token)).status_code == 401


def test_a_token_loses_what_its_creator_has_lost(
    browser: httpx.Client, monitor: Served, airflow: SignInAirflow
) -> None:
    airflow.dags[MONITOR_USER[0]] = EVERY
    fill(monitor)
    token = made(browser, signed_in(browser))
    every = made(browser, chief(browser, airflow))
    airflow.dags["alice"] = airflow.dags["chief"] = ["training"]
    signed_in(browser, "chief", "chief's secret")
    signed_in(browser, "Alice".lower(), ALICE[1])
    for one in (token, every):
        assert "etl" not in monitor.client.get("/api/v1/runs", headers=bearer(one)).text
    airflow.dags["alice"] = EVERY
    signed_in(browser)
    assert "etl" not in monitor.client.get("/api/v1/runs", headers=bearer(token)).text  # it gets none back


def test_an_airflow_that_shows_nothing_at_all_takes_nothing_away(
    browser: httpx.Client, monitor: Served, airflow: SignInAirflow
) -> None:
    fill(monitor)
    token = made(browser, signed_in(browser))
    airflow.dags.clear()
    signed_in(browser)
    assert "etl" in monitor.client.get("/api/v1/runs", headers=bearer(token)).text


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(browser: httpx.Client, monitor: Served) -> None:
    token = made(browser, signed_in(browser))
    answers = [
        monitor.client.get("/api/v1/runs", headers=bearer(f"wst_guess{number}"))
        for number in range(rate_limit.FAILURES + 1)
    ]
    assert [answer.status_code for answer in answers] == [401] * rate_limit.FAILURES + [429]
    assert int(answers[-1].headers["retry-after"]) <= rate_limit.WINDOW_SECONDS
    assert monitor.client.get("/api/v1/runs", headers=bearer(token)).status_code == 200


def test_its_use_is_shown_and_written_once_a_minute(
    browser: httpx.Client, monitor: Served, clock: FakeClock
) -> None:
    token = made(browser, signed_in(browser))
    assert token["last_used_at"] is None
    for _ in range(3):
        monitor.client.get("/api/v1/runs", headers=bearer(token))
    first = browser.get(API).json()["tokens"][0]["last_used_at"]
    assert first == "2026-11-22T10:00:00Z"
    clock.forward(USE_SECONDS - 1)
    monitor.client.get("/api/v1/runs", headers=bearer(token))
    assert browser.get(API).json()["tokens"][0]["last_used_at"] == first
    clock.forward(1 + LOOKUP_SECONDS)
    monitor.client.get("/api/v1/runs", headers=bearer(token))
    assert browser.get(API).json()["tokens"][0]["last_used_at"] > first


def test_the_page_shows_the_secret_once(browser: httpx.Client, monitor: Served) -> None:
    csrf = signed_in(browser)["X-CSRF-Token"]
    assert "There is none yet" in browser.get("/tokens").text
    form = {"name": "<b>screen</b>", "scope": ["read", "admin"], "days": "30", "dags": "etl, training"}
    assert browser.post("/tokens", data=form).status_code == 403
    answer = browser.post("/tokens", data={**form, "csrf": csrf})
    assert (answer.status_code, answer.headers["location"]) == (303, "/tokens")
    for attribute in ("Path=/tokens", "HttpOnly", "SameSite=strict", "Max-Age=60"):
        assert attribute in answer.headers["set-cookie"]
    page = browser.get("/tokens")
    assert page.headers["cache-control"] == "no-store"
    (secret,) = re.findall(r'<pre tabindex="0" id="secret">(wst_[\w-]{43})</pre>', page.text)
    assert monitor.client.get("/api/v1/runs", headers=bearer(secret)).status_code == 200
    later = browser.get("/tokens").text  # as to load the page again does
    assert secret not in later
    assert len(browser.get(API).json()["tokens"]) == 1
    assert secret[:10] in later
    assert "&lt;b&gt;screen" in later
    assert "2 DAGs" in later
    for wrong, word in (({"scope": []}, "choose what"), ({"dags": "payroll"}, "matches no DAG")):
        refused = browser.post("/tokens", data={**form, **wrong, "csrf": csrf})
        assert (refused.status_code, word in refused.text) == (422, True)
    gone = browser.post("/tokens/1/revoke", data={"csrf": csrf})
    assert (gone.status_code, gone.headers["location"]) == (303, "/tokens")
    assert monitor.client.get("/api/v1/runs", headers=bearer(secret)).status_code == 401


def test_what_is_shown_once_is_the_monitors_own(browser: httpx.Client, monitor: Served) -> None:
    """A cookie that somebody else has set shows nothing."""
    signed_in(browser)
    browser.cookies.set("windsock_flash", "wst_somebody-elses.aaaa.bbbb")
    assert "wst_somebody" not in browser.get("/tokens").text


def test_who_names_nobody_is_told_so(monitor: Served, browser: httpx.Client) -> None:
    refused = monitor.client.get("/api/v1/runs")
    assert refused.status_code == 401
    assert "names nobody" in refused.json()["detail"]
    assert "session has ended" not in refused.text
    ended = monitor.client.get("/api/v1/runs", headers={"Cookie": "windsock_session=old"})
    assert "session has ended" in ended.json()["detail"]


@pytest.fixture
def open_monitor(settings: Settings, clock: FakeClock) -> Iterator[Served]:
    with serving(settings, clock) as monitor:
        yield monitor


def test_without_sign_in_tokens_are_made_and_read_everything(open_monitor: Served, clock: FakeClock) -> None:
    token = made(open_monitor.client, {})
    assert (token["dags"], token["created_by"]) == (None, None)
    open_monitor.post([run_event("failed")])
    assert open_monitor.client.get("/api/v1/runs", headers=bearer(token)).json()["runs"]
    refused = open_monitor.client.post("/api/v1/deliveries/1/resend", headers=bearer(token))
    assert refused.status_code == 403  # what a token may not, it may not here either
    few = made(open_monitor.client, {}, dags=["etl"])
    assert few["dags"] == 1
    open_monitor.client.delete(f"{API}/{token['id']}")
    assert open_monitor.client.get("/api/v1/runs", headers=bearer(token)).status_code == 401
    assert open_monitor.client.get("/api/v1/runs").status_code == 200


def test_a_machines_token_of_few_dags_has_no_say_about_others(open_monitor: Served) -> None:
    open_monitor.post([run_event()])
    other = made(open_monitor.client, {})
    few = bearer(made(open_monitor.client, {}, scopes=["admin"], dags=["etl"]))
    assert open_monitor.client.get(API, headers=few).json()["tokens"] == []
    assert open_monitor.client.delete(f"{API}/{other['id']}", headers=few).status_code == 404


def test_a_token_that_read_every_dag_then_is_not_taken_for_one_that_does(
    browser: httpx.Client, monitor: Served, airflow: SignInAirflow
) -> None:
    """Its DAGs are counted once, at its making: others may have gone and come since."""
    airflow.dags[MONITOR_USER[0]] = EVERY
    airflow.add("clerk", "clerk's secret", ["etl", "payroll"])
    token = made(browser, signed_in(browser, "clerk", "clerk's secret"), scopes=["admin"])
    airflow.dags[MONITOR_USER[0]] = ["new"]
    assert monitor.client.get("/settings", headers=bearer(token)).status_code == 403
    silence = {"match": {"dag_id": "*"}, "reason": "x", "duration": "1h", "whole_airflow": True}
    assert monitor.client.post("/api/v1/silences", json=silence, headers=bearer(token)).status_code == 403


def test_openapi_tells_of_them_with_examples(open_monitor: Served) -> None:
    openapi = open_monitor.client.get("/openapi.json").json()
    assert set(openapi["paths"][API]) == {"get", "post"}
    assert set(openapi["paths"][f"{API}/{{token_id}}"]) == {"delete"}
    for name in ("NewToken", "TokenResponse", "TokenMade", "TokenPage"):
        assert openapi["components"]["schemas"][name]["examples"], name
    assert openapi["components"]["schemas"]["NewToken"]["properties"]["expires_in"]["default"] == "90d"
    assert API in open_monitor.client.get("/docs").text
