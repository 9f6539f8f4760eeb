"""A host that vanishes from the network: its turns go to another within a bounded time, and by then it has
stopped its work. Skipped where no network can be made (it takes root)."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from monitor.database.leader_election import LOOK_SECONDS
from monitor.database.postgresql import PEER_GONE
from tests import wait
from tests.postgres_server import PostgresServer
from tests.replicas.network import HERE, Host, can_be_made, other_host
from tests.replicas.three import WORKS, prepared, replica, turns_at, turns_of_watches

pytestmark = pytest.mark.skipif(not can_be_made(), reason="needs root and network namespaces")
START = 30.0


@pytest.fixture
def host() -> Iterator[Host]:
    with other_host() as host:
        yield host


@pytest.fixture
def server(host: Host) -> Iterator[PostgresServer]:
    server = PostgresServer(HERE).start()
    yield server
    server.stop()


def test_the_turns_of_a_host_that_vanishes(host: Host, server: PostgresServer, tmp_path: Path) -> None:
    with ExitStack() as stack:
        database = prepared(server.create())
        stack.callback(database.close)
        url = database.url.render_as_string(hide_password=False)
        far = replica(tmp_path, "far", url, {}, host.within)
        stack.callback(far.kill)
        far.launch()
        wait.until(lambda: turns_at(far, database) == set(WORKS), "the far one to have every turn", START)
        near = replica(tmp_path, "near", url, {})
        stack.callback(near.kill)
        near.start()

        began = time.monotonic()
        host.cut()
        wait.until(lambda: turns_at(near, database) == set(WORKS), "the turns to move", PEER_GONE + 20)
        print(f"cut off: taken after {time.monotonic() - began:.1f} s")  # noqa: T201 (a measurement)
        host.mend()

        stopped_at, had = turns_of_watches(far)[-1]
        assert not had
        taken_at, has = turns_of_watches(near)[-1]
        assert has
        print(f"the work had stopped {(taken_at - stopped_at).total_seconds():.1f} s before")  # noqa: T201
        assert stopped_at < taken_at

        near.stop()
        wait.until(lambda: turns_at(far, database) == set(WORKS), "the far one to be back", 30)
        assert LOOK_SECONDS < PEER_GONE
