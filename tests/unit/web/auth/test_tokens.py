"""What is kept of Windsock's tokens, on both databases."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from monitor.database.engine import Database
from monitor.web.auth import tokens
from monitor.web.auth.tokens import (
    EVERYONE,
    Draft,
    NoSuchDag,
    Owner,
    Scope,
    Token,
    TokenEnded,
    TokenOwnerFilter,
    TooManyTokens,
)
from tests.monitor_process import PYTHONPATH
from tests.unit.conftest import NOW

ETL, PAYROLL = ("local", "etl"), ("local", "payroll")
READ = Draft("screen", frozenset({Scope.READ}), frozenset({ETL, PAYROLL}))
ALICE, BOB = (Owner(user, frozenset({"local"})) for user in ("alice", "bob"))
EVERY = Draft("every", frozenset({Scope.ADMIN, Scope.INGEST}), None)


def add(database: Database, draft: Draft = READ, owner: Owner | None = ALICE) -> tuple[Token, str]:
    return database.write_now(lambda connection: tokens.add(connection, draft, owner, NOW))


def find(database: Database, secret: str) -> Token | None:
    return database.read_now(lambda connection: tokens.find_by_hash(connection, tokens.hash_of(secret)))


def test_a_token_is_found_by_its_secret_which_is_kept_nowhere(database: Database) -> None:
    made, secret = add(database)
    assert secret.startswith("wst_")
    assert len(secret) == 47  # wst_ and 32 bytes in base64url
    assert find(database, secret) == made
    assert find(database, secret + "x") is None
    assert (made.dags, made.expires_at) == (READ.dags, NOW + timedelta(days=90))
    kept = database.read_now(lambda connection: str(connection.execute(text("SELECT * FROM tokens")).all()))
    assert secret not in kept
    assert secret[tokens.SHOWN_SIGNS :] not in kept


def test_every_dag_is_another_thing_than_none(database: Database) -> None:
    assert add(database, EVERY)[0].dags is None
    nothing = Draft("nothing", READ.scopes, frozenset())
    _, secret = add(database, nothing)
    found = find(database, secret)
    assert found is not None
    assert found.dags == frozenset()


def test_it_ends_by_itself_and_by_hand(database: Database) -> None:
    made, secret = add(database)
    assert made.rejection_reason(NOW) is None
    assert "expired" in str(made.rejection_reason(NOW + tokens.DEFAULT_LIFE))
    mine, others = TokenOwnerFilter(owner=ALICE), TokenOwnerFilter(owner=BOB)
    assert database.write_now(lambda c: tokens.revoke(c, others, made.id, NOW)) is None
    revoked = database.write_now(lambda c: tokens.revoke(c, mine, made.id, NOW))
    assert revoked is not None
    assert revoked.state(NOW) == "revoked"
    later = database.write_now(lambda c: tokens.revoke(c, EVERYONE, made.id, NOW + timedelta(days=1)))
    assert later == revoked == find(database, secret)


def test_each_sees_the_own_ones(database: Database) -> None:
    mine, machine = add(database)[0], add(database, EVERY, None)[0]

    def seen(whose: TokenOwnerFilter) -> list[int]:
        return [one.id for one in database.read_now(lambda c: tokens.page(c, whose, 10))]

    assert seen(EVERYONE) == [machine.id, mine.id]
    assert seen(TokenOwnerFilter(owner=ALICE)) == [mine.id]
    assert seen(TokenOwnerFilter(owner=None)) == [machine.id]
    assert seen(TokenOwnerFilter(owner=BOB)) == []


def test_its_use_is_noted_once_a_minute(database: Database) -> None:
    made, secret = add(database)
    for seconds, noted in ((0, 0), (59, 0), (60, 60)):
        moment = NOW + timedelta(seconds=seconds)
        database.write_now(partial(tokens.record_use, token_id=made.id, now=moment))
        found = find(database, secret)
        assert found is not None
        assert found.last_used_at == NOW + timedelta(seconds=noted)


def test_it_loses_what_its_creator_loses(database: Database) -> None:
    _, few = add(database)
    _, every = add(database, EVERY)
    _, others = add(database, READ, BOB)
    shown = {"local": frozenset({"payroll", "new"})}

    def narrow() -> list[int]:
        return database.write_now(lambda c: tokens.narrow(c, "alice", shown, frozenset(), frozenset()))

    assert len(narrow()) == 2
    found = [find(database, secret) for secret in (few, every, others)]
    assert [one.dags for one in found if one] == [{PAYROLL}, {PAYROLL, ("local", "new")}, READ.dags]
    assert narrow() == []


def test_there_is_an_end_of_them(database: Database) -> None:
    database.write_now(lambda c: [tokens.add(c, READ, ALICE, NOW) for _ in range(tokens.MOST)])
    with pytest.raises(TooManyTokens, match="revoke one"):
        add(database)
    add(database, READ, BOB)


AT_EMEA, AT_BOTH = (Owner("alice", frozenset(names)) for names in ({"emea"}, {"emea", "local"}))


def test_a_name_is_somebody_of_the_airflows_that_accepted_it(database: Database) -> None:
    made = {owner: add(database, READ, owner)[0] for owner in (ALICE, AT_EMEA, AT_BOTH)}
    assert [one.owner for one in made.values()] == list(made)

    def seen(owner: Owner) -> list[int]:
        return [
            one.id for one in database.read_now(lambda c: tokens.page(c, TokenOwnerFilter(owner=owner), 10))
        ]

    assert seen(ALICE) == [made[ALICE].id]
    assert seen(AT_EMEA) == [made[AT_EMEA].id]
    assert seen(AT_BOTH) == [made[AT_BOTH].id, made[AT_EMEA].id, made[ALICE].id]
    assert seen(Owner("alice", frozenset())) == []
    for owner, of in ((ALICE, AT_EMEA), (ALICE, AT_BOTH), (AT_EMEA, AT_BOTH)):
        whose = TokenOwnerFilter(owner=owner)
        assert database.write_now(partial(tokens.revoke, whose=whose, token_id=made[of].id, now=NOW)) is None


def test_the_same_name_in_another_airflow_takes_no_room(database: Database) -> None:
    database.write_now(lambda c: [tokens.add(c, READ, AT_EMEA, NOW) for _ in range(tokens.MOST)])
    add(database)
    add(database, READ, AT_BOTH)

    def make_and_revoke(connection: Connection) -> None:
        for _ in range(tokens.MOST_A_DAY):
            made, _secret = tokens.add(connection, READ, BOB, NOW)
            tokens.revoke(connection, EVERYONE, made.id, NOW)

    database.write_now(make_and_revoke)
    add(database, READ, Owner("bob", frozenset({"emea"})))


def test_an_airflow_decides_about_its_own_dags_alone(database: Database) -> None:
    at_emea = ("emea", "etl")
    two = replace(READ, dags=frozenset({ETL, at_emea}))
    secrets = [add(database, *one)[1] for one in ((two, AT_BOTH), (two, AT_EMEA), (EVERY, AT_BOTH))]

    def narrow(shown: dict[str, frozenset[str]], *whole: str) -> list[object]:
        known = frozenset({ETL, PAYROLL, at_emea, ("third", "etl")})
        database.write_now(lambda c: tokens.narrow(c, "alice", shown, frozenset(whole), known))
        return [found.dags for found in (find(database, secret) for secret in secrets) if found]

    assert narrow({"local": frozenset({"payroll"})}, "local") == [two.dags, two.dags, None]
    assert narrow({"local": frozenset({"payroll"})}) == [{at_emea}, two.dags, {PAYROLL, at_emea}]
    assert narrow({"emea": frozenset()}) == [frozenset(), {ETL}, {PAYROLL}]


def test_old_tokens_are_the_one_airflows_or_nobodys(database: Database) -> None:
    _, secret = add(database)
    _, machines = add(database, EVERY, None)
    database.write_now(lambda c: c.execute(text("UPDATE tokens SET authenticated_by = NULL")))
    found = find(database, secret)
    assert found is not None
    assert found.is_unattributed
    assert database.write_now(lambda c: tokens.adopt(c, frozenset({"local", "emea"}))) == 1
    assert find(database, secret) == found
    assert database.write_now(lambda c: tokens.adopt(c, frozenset({"local"}))) == 0
    assert getattr(find(database, secret), "owner", None) == ALICE
    assert getattr(find(database, machines), "authenticated_by", "") is None


def test_making_and_revoking_tokens_has_an_end(database: Database) -> None:
    def make_and_revoke(now: datetime, times: int = 1) -> None:
        def write(connection: Connection) -> None:
            for _ in range(times):
                made, _secret = tokens.add(connection, READ, ALICE, now)
                tokens.revoke(connection, EVERYONE, made.id, now)

        database.write_now(write)

    make_and_revoke(NOW, tokens.MOST_A_DAY)
    with pytest.raises(TooManyTokens, match="within a day"):
        make_and_revoke(NOW + timedelta(hours=23))
    add(database, READ, BOB)
    make_and_revoke(NOW + timedelta(days=1))


def test_what_a_token_made_ends_with_it(database: Database) -> None:
    root, _ = add(database)
    child, _ = add(database, replace(READ, made_by=root.id))
    grandchild, secret = add(database, replace(READ, made_by=child.id))
    other, others_secret = add(database)
    assert grandchild.made_by == child.id
    database.write_now(lambda c: tokens.revoke(c, TokenOwnerFilter(owner=ALICE), root.id, NOW))
    state = {one.id: one.state(NOW) for one in database.read_now(lambda c: tokens.page(c, EVERYONE, 10))}
    assert state == dict.fromkeys((root.id, child.id, grandchild.id), "revoked") | {other.id: "active"}
    assert "was revoked" in str(getattr(find(database, secret), "rejection_reason", lambda _: None)(NOW))
    assert find(database, others_secret) == other
    with pytest.raises(TokenEnded, match="was revoked"):  # one that another replica takes as in force
        add(database, replace(READ, made_by=child.id))
    with pytest.raises(TokenEnded, match="has expired"):
        database.write_now(
            lambda c: tokens.add(c, replace(READ, made_by=other.id), ALICE, NOW + tokens.DEFAULT_LIFE)
        )


def test_old_ones_are_forgotten_when_one_is_made(database: Database) -> None:
    made, _ = add(database)
    much_later = made.expires_at + tokens.KEPT + timedelta(seconds=1)
    database.write_now(lambda c: tokens.add(c, READ, ALICE, much_later))
    assert made.id not in [one.id for one in database.read_now(lambda c: tokens.page(c, EVERYONE, 10))]


def test_globs_choose_among_what_may_be_read() -> None:
    known = frozenset({ETL, PAYROLL, ("emea", "etl")})
    assert tokens.within(known, ["etl"]) == {ETL, ("emea", "etl")}
    assert tokens.within(known, ["p*", "etl"]) == known
    with pytest.raises(NoSuchDag, match="'elt'"):
        tokens.within(known, ["etl", "elt"])


def test_admin_reads_and_ingest_does_not() -> None:
    def allowed(*scopes: Scope) -> set[str]:
        token = Token(1, "wst_", "t", frozenset(scopes), None, None, NOW, NOW, None, None)
        return {scope.value for scope in Scope if token.allows(scope)}

    assert allowed(Scope.ADMIN) == {"admin", "read"}
    assert allowed(Scope.READ) == {"read"}
    assert allowed(Scope.INGEST) == {"ingest"}


def windsock(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = kept | {"WINDSOCK_HOME": str(home), "WINDSOCK_AUTH": "none", "COLUMNS": "200"}
    command = [sys.executable, "-c", "from monitor.cli.main import main; main()", *arguments]
    return subprocess.run(
        command,
        env=environment | {"PYTHONPATH": PYTHONPATH},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
def test_the_command_makes_lists_and_revokes(tmp_path: Path) -> None:
    too_soon = windsock(tmp_path, "token", "list")
    assert (too_soon.returncode, "run `windsock migrate`" in too_soon.stderr) == (1, True)
    assert windsock(tmp_path, "migrate").returncode == 0
    made = windsock(tmp_path, "token", "create", "the [red]wall", "--scope", "read", "--scope", "ingest")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    token = find(database, secret)
    database.close()
    assert token is not None
    assert token.scopes == {Scope.READ, Scope.INGEST}
    assert token.created_by is None
    assert token.dags is None
    listed = windsock(tmp_path, "token", "list").stdout
    assert "the [red]wall" in listed
    assert token.prefix in listed
    assert secret not in listed
    assert windsock(tmp_path, "token", "revoke", str(token.id)).returncode == 0
    assert "revoked" in windsock(tmp_path, "token", "list").stdout
    missing = windsock(tmp_path, "token", "revoke", "99")
    assert (missing.returncode, "no token 99" in missing.stderr) == (1, True)
    misspelt = windsock(tmp_path, "token", "create", "x", "--dag-id", "elt")
    assert (misspelt.returncode, "'elt'" in misspelt.stderr) == (1, True)
