"""One monitor for two Airflows: each has its own DAGs, and its own word on who may read them."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, update

from monitor.cli.check import check
from monitor.cli.check_files import CheckResult
from monitor.database.schema import tokens as tokens_table
from monitor.settings import Settings
from monitor.settings_values import AirflowSettings
from monitor.web.auth.permissions import RIGHTS_SECONDS
from monitor.web.auth.rate_limit import FAILURES
from tests.sample import run_event
from tests.unit.conftest import FakeClock, make_secret
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

ALICE = ("alice", "alice's secret")
BOB = ("bob", "bob's secret")
EVE = "eve"
OF_LOCAL, OF_EMEA, OF_BOTH = "the local eve's", "the emea eve's", "the same in both"
"""Passwords of two people of one name, and of one person in both Airflows."""
RUNS, TOKENS = "/api/v1/runs", "/api/v1/tokens"


@pytest.fixture
def emea() -> Iterator[SignInAirflow]:
    with SignInAirflow().serving() as airflow:
        airflow.add(*ALICE, ["payroll"])
        airflow.add(*BOB, ["payroll"])
        airflow.add(*MONITOR_USER, ["payroll"])
        yield airflow


@pytest.fixture
def local() -> Iterator[SignInAirflow]:
    with SignInAirflow().serving() as airflow:
        airflow.add(*ALICE, ["etl"])
        yield airflow


@pytest.fixture
def both(settings: Settings, local: SignInAirflow, emea: SignInAirflow) -> Settings:
    user, password = MONITOR_USER
    other = AirflowSettings(
        url=emea.url,
        username=user,
        password=SecretStr(password),
        ingest_secret=(SecretStr(make_secret()),),
    )
    changes = {
        "airflows": {"emea": other},
        "trusted_proxies": ("127.0.0.1",),
        "session_secret": (SecretStr("s" * 40),),
    }
    return with_sign_in(settings, local).model_copy(update=changes)


@pytest.fixture
def monitor(both: Settings, clock: FakeClock) -> Iterator[Served]:
    with serving(both, clock) as monitor:
        # The same name in both: who may read the one must not see the other.
        for deployment in ("local", "emea"):
            for dag_id in ("etl", "payroll"):
                post(monitor, deployment, dag_id)
        yield monitor


@pytest.fixture
def eves(local: SignInAirflow, emea: SignInAirflow) -> None:
    """Two people of one name."""
    local.add(EVE, OF_LOCAL, ["etl"])
    local.dags[MONITOR_USER[0]] = ["etl", "training"]
    emea.add(EVE, OF_EMEA, ["payroll"])


def post(monitor: Served, deployment: str, dag_id: str, state: str = "success") -> None:
    monitor.post([{**run_event(state, dag_id), "source": f"/airflow/{deployment}"}])


def signed_in(monitor: Served, password: str, user: str = EVE, address: str = "192.0.2.1") -> dict[str, str]:
    """Answers the headers of a session."""
    with httpx.Client(base_url=monitor.url, headers={"X-Forwarded-For": address}) as browser:
        answer = try_to_sign_in(browser, user, password)
        assert answer.status_code == 303, answer.text
        csrf = hidden("csrf", browser.get("/").text)
        return {"Cookie": f"windsock_session={browser.cookies['windsock_session']}", "X-CSRF-Token": csrf}


def guess(monitor: Served, password: str, address: str) -> int:
    with httpx.Client(base_url=monitor.url, headers={"X-Forwarded-For": address}) as browser:
        return try_to_sign_in(browser, EVE, password).status_code


def made(monitor: Served, headers: dict[str, str], *scopes: str) -> dict[str, Any]:
    wanted = {"name": "t", "scopes": scopes or ["read"]}
    answer = monitor.client.post(TOKENS, json=wanted, headers=headers)
    assert answer.status_code == 201, answer.text
    token: dict[str, Any] = answer.json()
    return token


def bearer(token: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {token['secret']}"}


def listed(monitor: Served, headers: dict[str, str]) -> list[int]:
    return [
        one["id"] for one in monitor.client.get(TOKENS, headers=headers).raise_for_status().json()["tokens"]
    ]


def seen(monitor: Served, headers: dict[str, str] | None = None) -> set[tuple[str, str]]:
    answer = monitor.client.get(RUNS, headers=headers).raise_for_status().json()
    return {(run["deployment"], run["dag_id"]) for run in answer["runs"]}


def test_someone_whom_both_know_sees_what_each_shows(monitor: Served) -> None:
    assert try_to_sign_in(monitor.client, *ALICE).status_code == 303
    assert seen(monitor) == {("local", "etl"), ("emea", "payroll")}


def test_someone_whom_one_knows_sees_what_that_one_shows(monitor: Served) -> None:
    assert try_to_sign_in(monitor.client, *BOB).status_code == 303
    assert seen(monitor) == {("emea", "payroll")}


def test_one_that_is_away_takes_nothing_from_the_other(monitor: Served, emea: SignInAirflow) -> None:
    emea.away = True
    assert try_to_sign_in(monitor.client, *ALICE).status_code == 303
    assert seen(monitor) == {("local", "etl")}


def test_nobody_is_signed_in_whom_none_knows(monitor: Served, emea: SignInAirflow) -> None:
    assert try_to_sign_in(monitor.client, "alice", "a guess").status_code == 401
    emea.away = True
    assert try_to_sign_in(monitor.client, "alice", "a guess").status_code == 401


def test_a_bearer_token_is_shown_to_the_first_airflow_only(
    monitor: Served, local: SignInAirflow, emea: SignInAirflow
) -> None:
    asked = emea.asked
    headers = {"Authorization": f"Bearer {local.token('alice')}"}

    answer = monitor.client.get("/api/v1/runs", headers=headers).json()

    assert {run["dag_id"] for run in answer["runs"]} == {"etl"}
    assert emea.asked == asked


@pytest.mark.usefixtures("eves")
def test_a_name_in_one_airflow_owns_no_tokens_of_the_same_name_in_another(monitor: Served) -> None:
    at_emea = signed_in(monitor, OF_EMEA)
    token = made(monitor, at_emea, "read", "admin")
    assert (token["created_by"], token["authenticated_by"]) == (EVE, ["emea"])
    stranger = signed_in(monitor, OF_LOCAL)
    others = made(monitor, stranger)
    assert listed(monitor, stranger) == [others["id"]]
    assert token["prefix"] not in monitor.client.get("/tokens", headers=stranger).text
    assert monitor.client.delete(f"{TOKENS}/{token['id']}", headers=stranger).status_code == 404
    revoked = monitor.client.post(f"/tokens/{token['id']}/revoke", headers=stranger)
    assert revoked.status_code == 404
    assert monitor.client.delete(f"{TOKENS}/{others['id']}", headers=bearer(token)).status_code == 404
    assert listed(monitor, at_emea) == listed(monitor, bearer(token)) == [token["id"]]
    assert seen(monitor, bearer(token)) == {("emea", "payroll")}  # the stranger's sign-in took nothing away


@pytest.mark.usefixtures("eves")
def test_who_is_known_in_both_owns_what_each_alone_has_made_and_not_the_other_way_round(
    monitor: Served, local: SignInAirflow, emea: SignInAirflow
) -> None:
    at_emea = made(monitor, signed_in(monitor, OF_EMEA))
    local.passwords[EVE] = emea.passwords[EVE] = OF_BOTH
    at_both = signed_in(monitor, OF_BOTH)
    token = made(monitor, at_both)
    assert token["authenticated_by"] == ["emea", "local"]
    assert listed(monitor, at_both) == [token["id"], at_emea["id"]]
    local.passwords[EVE] = OF_LOCAL
    assert listed(monitor, signed_in(monitor, OF_BOTH)) == [at_emea["id"]]
    assert listed(monitor, signed_in(monitor, OF_LOCAL)) == []


@pytest.mark.usefixtures("eves")
def test_an_airflow_takes_away_its_own_dags_and_no_others(
    monitor: Served, local: SignInAirflow, emea: SignInAirflow
) -> None:
    local.passwords[EVE] = emea.passwords[EVE] = OF_BOTH
    token = made(monitor, signed_in(monitor, OF_BOTH))
    assert seen(monitor, bearer(token)) == {("local", "etl"), ("emea", "payroll")}
    local.passwords[EVE], local.dags[EVE] = OF_LOCAL, ["training"]
    signed_in(monitor, OF_LOCAL)
    assert seen(monitor, bearer(token)) == {("emea", "payroll")}


def test_a_token_for_every_dag_keeps_those_of_the_airflow_that_takes_none_away(
    monitor: Served, local: SignInAirflow, emea: SignInAirflow
) -> None:
    local.add("chief", OF_BOTH, ["etl"])
    local.dags[MONITOR_USER[0]] = ["etl"]
    emea.add("chief", OF_BOTH, ["payroll"])
    token = made(monitor, signed_in(monitor, OF_BOTH, "chief"))
    assert (token["dags"], len(seen(monitor, bearer(token)))) == (None, 4)
    emea.passwords["chief"] = OF_EMEA
    signed_in(monitor, OF_BOTH, "chief")  # by the one alone, which still shows every DAG
    assert len(seen(monitor, bearer(token))) == 4
    local.dags["chief"] = ["training"]
    signed_in(monitor, OF_BOTH, "chief")
    assert seen(monitor, bearer(token)) == {("emea", "etl"), ("emea", "payroll")}


@pytest.mark.usefixtures("eves")
def test_what_an_airflow_no_longer_says_of_a_session_the_session_no_longer_owns(
    monitor: Served, local: SignInAirflow, emea: SignInAirflow, clock: FakeClock
) -> None:
    local.passwords[EVE] = emea.passwords[EVE] = OF_BOTH
    session = signed_in(monitor, OF_BOTH)
    token = made(monitor, session)
    emea.tokens.clear()  # who is removed there is refused
    clock.forward(RIGHTS_SECONDS)
    assert seen(monitor, session) == {("local", "etl")}
    assert listed(monitor, session) == []
    assert monitor.client.delete(f"{TOKENS}/{token['id']}", headers=session).status_code == 404


@pytest.mark.usefixtures("eves")
def test_guesses_at_one_airflow_count_though_another_lets_somebody_in(
    monitor: Served, local: SignInAirflow, emea: SignInAirflow
) -> None:
    for number in range(FAILURES + 5):  # who administers an Airflow lets in whom they like
        local.passwords[EVE] = f"guess {number}"
        assert guess(monitor, f"guess {number}", "198.51.100.1") == 303
    assert emea.logins - len(emea.tokens) == FAILURES  # those that were refused
    assert guess(monitor, OF_EMEA, "198.51.100.1") == 429
    assert guess(monitor, OF_EMEA, "192.0.2.1") == 303  # nobody else is shut out


@pytest.mark.usefixtures("eves")
def test_signing_in_often_shuts_nobody_of_the_same_name_out(monitor: Served, emea: SignInAirflow) -> None:
    for _ in range(FAILURES + 1):
        assert guess(monitor, OF_LOCAL, "198.51.100.1") == 303
    emea.away = True
    assert guess(monitor, "a guess", "198.51.100.1") == 429  # emea's eve may have been meant
    emea.away = False
    assert guess(monitor, OF_EMEA, "192.0.2.1") == 303


@pytest.mark.usefixtures("eves")
def test_what_is_done_says_which_airflows_user_did_it(monitor: Served) -> None:
    for deployment, dag_id in (("local", "etl"), ("emea", "payroll")):
        post(monitor, deployment, dag_id, "failed")
    for password, deployment, dag_id in ((OF_LOCAL, "local", "etl"), (OF_EMEA, "emea", "payroll")):
        session = signed_in(monitor, password)
        assert f"{EVE} ({deployment})" in monitor.client.get("/", headers=session).text
        (incident,) = monitor.client.get("/api/v1/incidents", headers=session).json()["incidents"]
        path = f"/api/v1/incidents/{incident['id']}/acknowledgement"
        acked = monitor.client.post(path, json={"reason": "seen"}, headers=session).json()
        assert acked["acknowledged_by"] == f"{EVE} ({deployment})"
        of = {"match": {"deployment": deployment, "dag_id": dag_id}, "reason": "x", "duration": "1h"}
        token = made(monitor, session, "admin")
        by_token = monitor.client.post("/api/v1/silences", json=of, headers=bearer(token)).json()
        assert by_token["author"] == f"token 't' of {EVE} ({deployment})"


@pytest.mark.usefixtures("eves")
def test_one_of_a_name_leaves_feeds_for_the_other(both: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.feed.connections.room", lambda: 12)
    monkeypatch.setattr("monitor.feed.connections.MIN_SHARE", 1)
    with serving(both) as monitor:
        here, there = signed_in(monitor, OF_LOCAL), signed_in(monitor, OF_EMEA)
        with FeedReader(monitor.url, headers=here) as one:
            assert one.status == 200
            assert monitor.client.get("/events", headers=here).status_code == 429
            with FeedReader(monitor.url, headers=there) as other:
                assert other.status == 200


def test_a_token_for_every_dag_reads_none_of_an_airflow_that_is_added(
    both: Settings, local: SignInAirflow, emea: SignInAirflow, clock: FakeClock
) -> None:
    local.dags[MONITOR_USER[0]] = local.dags["alice"]
    with serving(both.model_copy(update={"airflows": {}}), clock) as monitor:
        token = made(monitor, signed_in(monitor, ALICE[1], ALICE[0]))
        assert token["dags"] is None
    with serving(both, clock) as monitor:
        post(monitor, "emea", "payroll")
        post(monitor, "local", "etl")
        assert seen(monitor, bearer(token)) == {("local", "etl")}
        with FeedReader(monitor.url, headers=bearer(token)) as reader:
            post(monitor, "emea", "new_there")
            post(monitor, "local", "new_here")
            assert [one["data"]["dag_id"] for one in reader.wait_for(1)] == ["new_here"]


@pytest.mark.usefixtures("eves")
def test_a_session_goes_on_without_an_airflow_that_is_configured_no_more(
    both: Settings, local: SignInAirflow, emea: SignInAirflow, clock: FakeClock
) -> None:
    local.passwords[EVE] = emea.passwords[EVE] = OF_BOTH
    with serving(both, clock) as monitor:
        session = signed_in(monitor, OF_BOTH)
        of_emea = signed_in(monitor, BOB[1], BOB[0])
        token = made(monitor, session)
    with serving(both.model_copy(update={"airflows": {}}), clock) as monitor:
        assert monitor.client.get(RUNS, headers=session).status_code == 200
        assert monitor.client.get(RUNS, headers=of_emea).status_code == 401
        assert listed(monitor, session) == []  # emea's user made it, too
        assert monitor.client.get(RUNS, headers=bearer(token)).status_code == 200


def test_old_tokens_of_unknown_airflows_count_no_more_where_there_are_several(
    both: Settings, monitor: Served, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    token = made(monitor, signed_in(monitor, ALICE[1], ALICE[0]))

    def as_before(connection: Connection) -> None:
        connection.execute(update(tokens_table).values(authenticated_by=None))

    monitor.app.state.services.database.write_now(as_before)
    caplog.clear()
    with serving(both, clock) as again:
        answer = again.client.get(RUNS, headers=bearer(token))
        assert (answer.status_code, "make it anew" in answer.json()["detail"]) == (401, True)
        assert listed(again, signed_in(again, ALICE[1], ALICE[0])) == []
    assert "1 tokens for every DAG count no more" in caplog.text
    assert check_of(both).ok is False
    alone = both.model_copy(update={"airflows": {}})
    assert check_of(alone).ok
    with serving(alone, clock) as one:
        assert listed(one, signed_in(one, ALICE[1], ALICE[0])) == [token["id"]]
        assert one.client.get(RUNS, headers=bearer(token)).status_code == 200


def check_of(settings: Settings) -> CheckResult:
    found = asyncio.run(check(settings.model_copy(update={"airflow_timeout": 1.0})))
    return next(one for one in found if one.name == "tokens")
