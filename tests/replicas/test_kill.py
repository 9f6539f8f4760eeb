"""Three monitors, and one is killed between giving a mail to the server and hearing that it was taken."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from monitor.database.engine import Database
from monitor.delivery.worker import LEASE, POLL_SECONDS
from monitor.event_log import read
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.records import State
from tests import wait
from tests.postgres_server import PostgresServer
from tests.replicas.three import WORKS, Killing, Load, message_ids, prepared, replica, turns_at
from tests.smtp_server import SmtpServer
from tests.unit.conftest import make_secret

EVENTS = 60
TURN_DEADLINE = 20.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.stop()


def settled(database: Database) -> bool:
    found = database.read_now(queries.counts)
    return sum(found.values()) == EVENTS and not found[State.PENDING] + found[State.SENDING]


def test_each_mail_once_though_one_is_killed_under_it(server: PostgresServer, tmp_path: Path) -> None:
    with ExitStack() as stack:
        killing = Killing(20)
        smtp = SmtpServer(tmp_path, reply=killing.reply).start()
        stack.callback(smtp.stop)
        database = prepared(server.create())
        stack.callback(database.close)
        secret = make_secret()
        env = {**smtp.monitor_env(), "WINDSOCK_INGEST_SECRET": secret}
        url = database.url.render_as_string(hide_password=False)
        monitors = {f"{name}@example.com": replica(tmp_path, name, url, env) for name in ("a", "b", "c")}
        for sender, monitor in monitors.items():
            stack.callback(monitor.kill)
            monitor.start()
            killing.pids[sender] = monitor.process_id
        sent = Load([monitor.url for monitor in monitors.values()], secret).send(EVENTS)

        wait.until(lambda: killing.killed is not None, "one to be killed under a mail")
        wait.until(lambda: settled(database), "every mail", LEASE.total_seconds() + 2 * POLL_SECONDS + 20)

        logged = [one.seq for one in database.read_now(lambda c: read.read_after(c, 0, 1_000)).events]
        assert len(logged) == len(set(sent)) == EVENTS
        assert set(Counter(message_ids(smtp)).values()) == {1}
        assert len(smtp.mails) == EVENTS  # the one under way was taken: the server said so, to nobody
        states = database.read_now(queries.counts)
        uncertain = [
            one.message_id
            for one in database.read_now(lambda c: queries.deliveries(c, EVENTS))
            if one.state is State.UNCERTAIN
        ]
        assert killing.under_way is not None
        assert killing.under_way["Message-ID"] in uncertain
        assert states[State.SENT] + len(uncertain) == EVENTS
        assert len(uncertain) <= 2  # as many mails as one monitor has on the wire at once


def test_the_turns_of_one_that_is_killed_are_taken(server: PostgresServer, tmp_path: Path) -> None:
    with ExitStack() as stack:
        database = prepared(server.create())
        stack.callback(database.close)
        url = database.url.render_as_string(hide_password=False)
        first, second = (replica(tmp_path, name, url, {}) for name in ("first", "second"))
        for monitor in (first, second):
            stack.callback(monitor.kill)
            monitor.start()
        wait.until(lambda: turns_at(first, database) == set(WORKS), "the first to have every turn")
        began = time.monotonic()
        first.kill()
        wait.until(lambda: turns_at(second, database) == set(WORKS), "the turns to move", TURN_DEADLINE)
        print(f"kill -9: taken after {time.monotonic() - began:.1f} s")  # noqa: T201 (a measurement)
        first.start()
        began = time.monotonic()
        second.stop()
        print(f"clean stop: ended after {time.monotonic() - began:.1f} s")  # noqa: T201
        wait.until(lambda: turns_at(first, database) == set(WORKS), "the turns to move back", TURN_DEADLINE)
        print(f"clean stop: taken after {time.monotonic() - began:.1f} s")  # noqa: T201
