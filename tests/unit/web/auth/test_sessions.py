"""Sessions and the brake on guessing hold at every monitor on the same database, and give nothing away."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select, update
from typer.testing import CliRunner

from monitor.cli.typer_app import cli
from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.schema import failed_attempts
from monitor.database.schema import sessions as table
from monitor.settings import Settings
from monitor.web.auth import rate_limit, sessions, tokens
from monitor.web.auth.rate_limit import FAILURES, WINDOW_SECONDS, Throttle
from monitor.web.auth.sessions import LOOKUP_SECONDS, SESSION_SECONDS, Session
from monitor.web.auth.tokens import hash_of
from tests import wait
from tests.sample import run_event
from tests.unit.conftest import NOW, FakeClock
from tests.unit.web_support import (
    FeedReader,
    Served,
    SignInAirflow,
    hidden,
    serving,
    try_to_sign_in,
    with_sign_in,
)

ALICE = ("alice", "alice's secret")
SECRET, OLD_SECRET = "a session secret " * 2, "an older session secret"
TOKENS = {"local": "an-airflow-token"}


@pytest.fixture
def airflow() -> Iterator[SignInAirflow]:
    with SignInAirflow().serving() as airflow:
        airflow.add(*ALICE, ["etl"])
        yield airflow


@pytest.fixture
def replicas(
    database: Database, settings: Settings, airflow: SignInAirflow, clock: FakeClock, tmp_path: Path
) -> Iterator[list[Served]]:
    """Two monitors, each with a home of its own, on one database."""
    shared = with_sign_in(settings, airflow).model_copy(
        update={
            "database_url": database.url.render_as_string(hide_password=False),
            "session_secret": (SecretStr(SECRET),),
        }
    )
    homes = [shared.model_copy(update={"home": tmp_path / name}) for name in ("one", "two")]
    with ExitStack() as stack:
        yield [stack.enter_context(serving(each, clock)) for each in homes]


def signed_in(monitor: Served) -> dict[str, str]:
    with httpx.Client(base_url=monitor.url) as browser:
        assert try_to_sign_in(browser, *ALICE).status_code == 303
        return {"Cookie": f"windsock_session={browser.cookies['windsock_session']}"}


def status(monitor: Served, cookie: dict[str, str]) -> int:
    return monitor.client.get("/api/v1/runs", headers=cookie).status_code


def sign_out(monitor: Served, cookie: dict[str, str]) -> None:
    csrf = hidden("csrf", monitor.client.get("/", headers=cookie).text)
    assert monitor.client.post("/logout", headers=cookie, data={"csrf": csrf}).status_code == 303


def test_signed_in_at_one_is_signed_in_at_all_and_out_at_all(
    replicas: list[Served], clock: FakeClock
) -> None:
    here, there = replicas
    cookie = signed_in(here)
    assert [status(monitor, cookie) for monitor in replicas] == [200, 200]
    sign_out(there, cookie)
    assert status(there, cookie) == 401
    clock.forward(LOOKUP_SECONDS)
    assert status(here, cookie) == 401


def test_signing_out_elsewhere_ends_an_open_feed(replicas: list[Served], clock: FakeClock) -> None:
    here, there = replicas
    cookie = signed_in(here)
    with FeedReader(here.url, headers=cookie) as reader:
        sign_out(there, cookie)
        clock.forward(LOOKUP_SECONDS)
        # It asks for its rights before it tells anything, and else every few seconds.
        here.app.state.services.feed_server.rights_changed()
        here.post([run_event(dag_id="etl")])
        wait.until(reader.ended.is_set, "the feed to end")
        assert reader.events == []


def test_guesses_are_counted_at_all_monitors_together(replicas: list[Served], clock: FakeClock) -> None:
    for number in range(FAILURES):
        with httpx.Client(base_url=replicas[number % 2].url) as browser:
            assert try_to_sign_in(browser, "alice", "guess").status_code == 401
    for monitor in replicas:
        with httpx.Client(base_url=monitor.url) as browser:
            assert try_to_sign_in(browser, *ALICE).status_code == 429
    clock.forward(WINDOW_SECONDS)
    signed_in(replicas[1])


def test_the_database_alone_gives_no_session_away(database: Database) -> None:
    session = database.write_now(lambda c: sessions.begin(c, "alice", TOKENS, SECRET, NOW))
    [row] = database.read_now(lambda c: c.exec_driver_sql("SELECT * FROM sessions").all())
    kept = repr(row) + bytes(row.sealed).decode("latin-1")
    assert not any(word in kept for word in (session.id, session.csrf, TOKENS["local"]))

    def found(session_id: str, *secrets: str) -> Session | None:
        return database.read_now(lambda c: sessions.find(c, session_id, secrets, NOW))

    assert found(session.id, SECRET) == found(session.id, "another one", SECRET) == session
    assert found(session.id, "another one") is None
    assert found(hash_of(session.id), SECRET) is None
    longer = NOW + timedelta(seconds=2 * SESSION_SECONDS)
    database.write_now(lambda c: c.execute(update(table).values(expires_at=longer)))
    assert found(session.id, SECRET) is None  # its end cannot be put off


def test_sessions_are_bounded_and_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)

    def begin(second: float) -> str:
        at = NOW + timedelta(seconds=second)
        return database.write_now(lambda c: sessions.begin(c, "alice", TOKENS, SECRET, at)).id

    def alive(session_id: str, second: float) -> bool:
        at = NOW + timedelta(seconds=second)
        return database.read_now(lambda c: sessions.find(c, session_id, [SECRET], at)) is not None

    begun = [begin(second) for second in range(4)]
    assert [alive(one, 4) for one in begun] == [False, True, True, True]
    assert not alive(begun[1], 1 + SESSION_SECONDS)
    assert database.write_now(lambda c: sessions.forget(c, NOW + timedelta(days=1))) == 3
    begin(0)
    local = [frozenset({"local"})]
    assert database.write_now(lambda c: sessions.end_of_user(c, "bob", local)) == 0
    assert database.write_now(lambda c: sessions.end_of_user(c, "alice", [frozenset({"emea"})])) == 0
    assert database.write_now(lambda c: sessions.end_of_user(c, "alice", local)) == 1


def test_a_new_secret_signs_nobody_out_while_the_old_one_is_named(
    settings: Settings, airflow: SignInAirflow
) -> None:
    def with_secrets(*secrets: str) -> Settings:
        keys = tuple(map(SecretStr, secrets))
        return with_sign_in(settings, airflow).model_copy(update={"session_secret": keys})

    with serving(with_secrets(OLD_SECRET)) as monitor:
        of_old = signed_in(monitor)
    with serving(with_secrets(SECRET, OLD_SECRET)) as monitor:
        assert status(monitor, of_old) == 200
        of_new = signed_in(monitor)
    with serving(with_secrets(SECRET)) as monitor:
        assert [status(monitor, cookie) for cookie in (of_old, of_new)] == [401, 200]


def test_names_that_failed_are_bounded_and_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "MAX_NAMES", 20)
    for number in range(30):
        at = NOW + timedelta(seconds=number)
        database.write_now(lambda c: rate_limit.begin(c, {f"user {number}": FAILURES}, at))  # noqa: B023 (called here)
    over = NOW + timedelta(seconds=29 + WINDOW_SECONDS)
    assert database.write_now(lambda c: rate_limit.forget(c, over)) == 20


def test_a_window_begins_with_its_first_attempt(database: Database) -> None:
    def begin(second: int) -> int:
        at = NOW + timedelta(seconds=second)
        over = database.write_now(
            lambda c: rate_limit.begin(c, dict.fromkeys(["user alice", "address ::1"], FAILURES), at)
        )
        return rate_limit.seconds_until(over.values(), at)

    assert [begin(second) for second in range(FAILURES)] == [0] * FAILURES
    assert begin(FAILURES) == WINDOW_SECONDS - FAILURES
    assert begin(WINDOW_SECONDS) == 0  # another window


def test_an_attempt_that_was_right_is_taken_back_and_one_that_is_refused_was_none(database: Database) -> None:
    def begin(*names: str) -> int:
        over = database.write_now(lambda c: rate_limit.begin(c, dict.fromkeys(names, FAILURES), NOW))
        return rate_limit.seconds_until(over.values(), NOW)

    for _ in range(3 * FAILURES):
        assert begin("user alice", "address ::1") == 0
        database.write_now(lambda c: rate_limit.take_back(c, ["user alice", "address ::1"]))
    for _ in range(FAILURES):
        assert begin("user alice", "address ::1") == 0
    assert begin("user alice", "address ::2") > 0
    assert [begin("user bob", "address ::2") for _ in range(FAILURES)] == [0] * FAILURES


def test_one_user_cannot_push_the_sessions_of_others_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 12)
    monkeypatch.setattr(sessions, "MAX_OF_ONE_USER", 10)

    def begin(user: str, second: int, deployment: str = "local") -> str:
        at = NOW + timedelta(seconds=second)
        return database.write_now(lambda c: sessions.begin(c, user, {deployment: "t"}, "s" * 40, at)).id

    def is_there(session_id: str) -> bool:
        at = NOW + timedelta(seconds=100)
        return database.read_now(lambda c: sessions.find(c, session_id, ["s" * 40], at)) is not None

    bob = begin("bob", 0)
    elsewhere = begin("alice", 0, "emea")  # another person, or the same in more Airflows
    alice = [begin("alice", second) for second in range(1, 31)]
    assert is_there(bob)
    assert is_there(elsewhere)
    assert [is_there(one) for one in alice] == [False] * 20 + [True] * 10


def test_spellings_of_a_name_share_one_bound(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_OF_ONE_USER", 3)

    def begin(user: str, token: str, second: int) -> str:
        at = NOW + timedelta(seconds=second)
        return database.write_now(lambda c: sessions.begin(c, user, {"local": token}, "s" * 40, at)).id

    def number() -> int:
        return database.read_now(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())

    spellings = ["alice", "Alice", "ALICE", "aLiCe", "alicE"]
    for second, user in enumerate(spellings):
        begin(user, "no JWT", second)
    assert number() == 3
    of_7 = token_of("7")
    for second, user in enumerate([*spellings, "alice@example.com"]):  # Airflow says that they are one user
        begin(user, of_7, second)
    assert number() == 6
    begin("alice", token_of("8"), 10)  # another user, for whom Airflow takes the same name
    assert number() == 7


def token_of(subject: str) -> str:
    """A JWT of that user; nobody checks its signature."""
    claims = urlsafe_b64encode(json.dumps({"sub": subject}).encode()).decode().rstrip("=")
    return f"e30.{claims}.x"


def test_a_refused_attempt_writes_nothing(database: Database, clock: FakeClock) -> None:
    throttle = Throttle(database, clock)
    names = {"address ::1": FAILURES}

    def counted() -> int:
        query = select(func.count()).select_from(failed_attempts)
        return database.read_now(lambda c: c.execute(query).scalar_one())

    async def guess() -> None:
        for _ in range(FAILURES):
            assert await throttle.begin(names, "address ::1") == 0
        assert await throttle.begin(names, "address ::1") == WINDOW_SECONDS
        database.write_now(rate_limit.forget_all)  # what is there now was written after this
        assert [await throttle.begin(names, "address ::1") for _ in range(5)] == [WINDOW_SECONDS] * 5
        assert counted() == 0
        assert await throttle.begin({"address ::2": FAILURES}, "address ::2") == 0  # another one is counted
        clock.forward(rate_limit.REFUSED_SECONDS)
        assert await throttle.begin(names, "address ::1") == 0  # it is looked up again

    asyncio.run(guess())


def test_what_is_taken_back_is_refused_no_more(database: Database, clock: FakeClock) -> None:
    throttle = Throttle(database, clock)
    names = {"address ::1": FAILURES}

    async def sign_in() -> None:
        for _ in range(FAILURES):
            await throttle.begin(names, "address ::1")
        assert await throttle.begin(names, "address ::1") > 0
        await throttle.take_back(names)
        assert await throttle.begin(names, "address ::1") == 0

    asyncio.run(sign_in())


def test_who_is_gone_from_airflow_is_ended_by_name(
    replicas: list[Served], database: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = replicas[0]
    cookie = signed_in(here)
    csrf = hidden("csrf", here.client.get("/", headers=cookie).text)
    wanted = {"name": "bot", "scopes": ["read"]}
    made = here.client.post("/api/v1/tokens", headers=cookie | {"X-CSRF-Token": csrf}, json=wanted).json()
    bearer = {"Authorization": f"Bearer {made['secret']}"}
    assert (status(here, cookie), status(here, bearer)) == (200, 200)
    monkeypatch.setenv("WINDSOCK_DATABASE_URL", database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("WINDSOCK_AUTH", "none")
    done = CliRunner().invoke(cli, ["token", "revoke", "--user", "Alice"])
    assert "0 tokens of 'Alice' are revoked, 0 sessions ended\n'alice' has tokens too" in done.output
    done = CliRunner().invoke(cli, ["token", "revoke", "--user", "alice"])
    assert done.output == "1 tokens of 'alice' are revoked, 1 sessions ended\n"
    clock.forward(LOOKUP_SECONDS)
    assert (status(here, cookie), status(here, bearer)) == (401, 401)
    for wrong in ([], ["1", "--user", "alice"], ["1", "--deployment", "local"]):
        assert CliRunner().invoke(cli, ["token", "revoke", *wrong]).exit_code == 1


def test_a_name_that_several_airflows_know_is_ended_in_the_one_that_is_named(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another Airflow may give the name to somebody else, whose tokens and sessions go on."""
    now = utc_now()
    reads = tokens.Draft("screen", frozenset({tokens.Scope.READ}), frozenset())
    for names in (("emea",), ("apac",), ("apac", "emea"), ("apac", "us")):
        owner, accepted = tokens.Owner("alice", frozenset(names)), dict.fromkeys(names, "t")
        database.write_now(partial(tokens.add, draft=reads, owner=owner, now=now))
        database.write_now(partial(sessions.begin, user="alice", tokens=accepted, secret=SECRET, now=now))
    monkeypatch.setenv("WINDSOCK_DATABASE_URL", database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("WINDSOCK_AUTH", "none")

    def revoke(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, ["token", "revoke", "--user", "alice", *options])
        return done.exit_code, " ".join(done.output.split())

    code, said = revoke()
    assert (code, "user: 'alice' may be several people" in said) == (1, True)
    assert said.endswith("--deployment, more than once for more than one: apac, emea, us")
    code, said = revoke("--deployment", "mars")
    assert (code, "'mars' has no tokens or sessions of 'alice'; those are of: apac, emea, us" in said) == (
        1,
        True,
    )
    assert revoke("--deployment", "emea") == (0, "2 tokens of 'alice' are revoked, 2 sessions ended")
    left = {frozenset({"apac"}), frozenset({"apac", "us"})}
    assert database.read_now(lambda c: tokens.accepted_by(c, "alice", now)) == left
    assert database.read_now(lambda c: sessions.accepted_by(c, "alice", now)) == left
    assert revoke("--deployment", "us") == (0, "1 tokens of 'alice' are revoked, 1 sessions ended")
    assert revoke() == (0, "1 tokens of 'alice' are revoked, 1 sessions ended")
    assert revoke() == (0, "0 tokens of 'alice' are revoked, 0 sessions ended")
