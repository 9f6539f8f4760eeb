"""The database's primary dies under load, and its standby takes its place: the monitors find it, and nothing
is lost or doubled. With synchronous replication: without it the standby lacks what was committed last.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import make_url

from monitor.clock import utc_now
from monitor.database.engine import Database
from monitor.database.leader_election import holders
from monitor.notifications.outbox.records import WAITING, State
from tests import wait
from tests.every_end import every_end
from tests.faults import ledger
from tests.faults.mails import compare
from tests.faults.stage import RECIPIENTS
from tests.postgres_pair import PostgresPair
from tests.replicas.network import HERE, THERE, can_be_made, other_host
from tests.replicas.three import WORKS
from tests.scale.books import books
from tests.scale.fleet import Fleet
from tests.scale.replicas import doubled, number_of
from tests.scale.told import EVENTS_A_RUN, Told, told
from tests.scale.traffic import Traffic, traffic
from tests.scale.verdict import wrong
from tests.smtp_server import SmtpServer
from tests.unit.web_support import FeedReader

MONITORS = 3
CLIENTS = 2
RUNS = 600  # half of them fail: a mail to each recipient
SEED = 7
DIES_AT = 60  # mails
BACK_SECONDS = 60.0  # for anything to go on
SETTLE_SECONDS = 240.0
LINKS = ("listen", "leader")
CONNECTED = "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'windsock %'"

Dying = tuple[PostgresPair, Callable[[], None]]


@pytest.fixture(params=["killed", "vanished"])
def dying(request: pytest.FixtureRequest) -> Iterator[Dying]:
    """The servers, and how the primary dies: kill -9, or its host is gone from the network."""
    with ExitStack() as ends:
        if request.param == "killed":
            pair = PostgresPair()
            die = pair.kill
        elif can_be_made():
            host = ends.enter_context(other_host())
            pair, die = PostgresPair(THERE, HERE, host.within), host.cut
        else:
            pytest.skip("needs root and network namespaces")
        ends.callback(pair.stop)
        yield pair.start(), die


def test_nothing_is_lost_or_doubled(dying: Dying, tmp_path: Path) -> None:
    pair, die = dying
    with ExitStack() as ends:
        smtp = SmtpServer(tmp_path).start()
        ends.callback(smtp.stop)
        env = smtp.monitor_env() | every_end(tmp_path, RECIPIENTS, "none")
        fleet = ends.enter_context(Fleet(tmp_path, MONITORS, env, pair))
        sent = told(RUNS * EVENTS_A_RUN, SEED, utc_now(), failing=0.5)
        feed = ends.enter_context(FeedReader(fleet.urls[0]))
        going = ends.enter_context(traffic(fleet, sent, CLIENTS, SEED))
        wait.until(lambda: len(smtp.mails) >= DIES_AT, "the first mails", SETTLE_SECONDS)
        assert going.clients.left, "the load was over before the primary died"

        fails_over(fleet, pair, die)
        goes_on(fleet, pair, feed, smtp)

        going.clients.done()
        check(fleet, sent, going, smtp)
        assert not feed.ended.is_set()  # it was open all the while


def fails_over(fleet: Fleet, pair: PostgresPair, die: Callable[[], None]) -> None:
    die()
    began = time.monotonic()
    wait.until(lambda: not any(map(ready, fleet.urls)), "every monitor to notice", BACK_SECONDS)
    say("every monitor had noticed", began)
    pair.standby.promote()
    fleet.look_at(pair.standby.url(str(make_url(fleet.database).database)))


def goes_on(fleet: Fleet, pair: PostgresPair, feed: FeedReader, smtp: SmtpServer) -> None:
    """Each part that stands on the database, and when it did since the promotion."""
    began = time.monotonic()
    watching = Database(fleet.database)
    logged, mailed = len(feed.messages), len(smtp.mails)
    every_link = {(str(monitor.port), link) for monitor in fleet.monitors for link in LINKS}
    parts = {
        "a monitor was ready": lambda: any(map(ready, fleet.urls)),
        "the feed went on": lambda: len(feed.messages) > logged,
        "mail went on": lambda: len(smtp.mails) > mailed,
        "every turn was taken": lambda: set(watching.read_now(lambda c: holders(c, WORKS))) == set(WORKS),
        "every monitor listened": lambda: links(pair) == every_link,
        "every monitor was ready": lambda: all(map(ready, fleet.urls)),
    }
    for part, is_back in parts.items():
        wait.until(is_back, part, BACK_SECONDS)
        say(part, began)
    watching.close()


def check(fleet: Fleet, sent: Told, going: Traffic, smtp: SmtpServer) -> None:
    wait.until(lambda: not number_of(fleet, *WAITING, State.SENDING), "every mail", SETTLE_SECONDS)
    took = going.ended()
    mails = compare(sent.failures, ledger.read(fleet.database), smtp.mails)
    print(  # noqa: T201 (a measurement)
        f"{len(sent.ids)} events, {mails.expected} mails, uncertain {dict(mails.uncertain)}, "
        f"in {took:.0f} s; {dict(going.clients.counts)}"
    )
    assert wrong(books(fleet, sent, counted=False), going.tails) == []
    assert [*mails.lost, *mails.false, *doubled(smtp.mails)] == []


def say(what: str, began: float) -> None:
    print(f"{what}: after {time.monotonic() - began:.1f} s")  # noqa: T201 (a measurement)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=1, trust_env=False).status_code == 200
    except httpx.TimeoutException:
        return False


def links(pair: PostgresPair) -> set[tuple[str, str]]:
    """The connections that stay, by the monitor's port."""
    names = [name.split() for (name,) in pair.standby.query(CONNECTED)]
    return {(name[1].rpartition(":")[2], name[2]) for name in names if len(name) > 2}
