"""A reader with many slow requests delays neither the monitor's own work nor other readers."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import event, text

from monitor.concurrency import MAX_WAITING, Overloaded
from monitor.database.engine import SHARE, Database
from monitor.settings import Settings
from monitor.web.auth import tokens
from monitor.web.auth.tokens import Draft, Scope
from monitor.web.dependencies import ApiPrincipal
from monitor.web.services import ServicesDep
from tests import wait
from tests.sample import run_event
from tests.unit.web_support import Served

REQUESTS = 70
UNDER_WAY = SHARE + MAX_WAITING
ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(600)",
}
LISTS = {
    "sqlite": "/api/v1/events?dag_id=held*",
    "postgresql": "/api/v1/assets",
}


@dataclass(frozen=True)
class House:
    monitor: Served
    kind: str
    hold: Callable[[], Any]
    """Until the context ends, what the slow list of this database reads does not come."""

    def reader(self, name: str) -> httpx.Client:
        """A program of its own, with a token of its own."""
        services = self.monitor.app.state.services
        draft = Draft(name, frozenset({Scope.READ}), None)
        _, secret = services.database.write_now(lambda c: tokens.add(c, draft, None, services.clock()))
        limits = httpx.Limits(max_connections=REQUESTS)
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.Client(base_url=self.monitor.url, headers=headers, timeout=30, limits=limits)

    def count_mails(self) -> int:
        return len(self.monitor.app.state.services.mailbox.mails(10))


@pytest.fixture(params=["sqlite", "postgresql"])
def house(request: pytest.FixtureRequest, settings: Settings) -> Iterator[House]:
    kind = request.param
    if kind == "postgresql":
        url = request.getfixturevalue("postgres_url")
        settings = settings.model_copy(update={"database_url": url})
    monitor = Served(settings)
    gate = threading.Event()
    gate.set()

    def matches(glob: str, value: str) -> bool:
        """SQLite's GLOB, as slow as a test wants one pattern to be."""
        return not glob.startswith("held") or not gate.wait()

    def prepare(connection: Any, _record: object) -> None:
        connection.create_function("glob", 2, matches)

    @contextmanager
    def hold() -> Iterator[None]:
        if kind == "sqlite":
            gate.clear()
            try:
                yield
            finally:
                gate.set()
            return
        with closing(Database(settings.database)) as other, other.engine.begin() as connection:
            connection.execute(text("LOCK TABLE assets IN ACCESS EXCLUSIVE MODE"))
            yield

    if kind == "sqlite":
        event.listen(monitor.app.state.services.database.engine, "connect", prepare)
    monitor.start()
    monitor.post([run_event("success", "quiet")])
    yield House(monitor, kind, hold)
    monitor.stop()


def test_slow_requests_of_one_reader_hold_up_nothing_else(house: House) -> None:
    monitor = house.monitor
    with house.reader("slow") as slow, house.reader("other") as other, ThreadPoolExecutor(REQUESTS) as pool:
        with house.hold():
            asked = [pool.submit(slow.get, LISTS[house.kind]) for _ in range(REQUESTS)]
            refused = REQUESTS - UNDER_WAY
            wait.until(lambda: sum(one.done() for one in asked) >= refused, f"{refused} refusals")
            monitor.post([run_event("failed", "etl")])
            wait.until(house.count_mails, "the mail")
            for path in ("/health", "/readyz", "/metrics", "/livez"):
                assert monitor.client.get(path).status_code == 200, path
            health = slow.get("/health")
            assert (health.status_code, health.json()["parts"]["mail"]["status"]) == (200, "ok")
            assert len(other.get("/api/v1/runs").json()["runs"]) == 2
            assert sum(not one.done() for one in asked) >= SHARE  # all of that beside the slow requests
        statuses = Counter(one.result().status_code for one in asked)
    assert statuses[429] == refused
    assert statuses[200] + statuses[503] == UNDER_WAY  # 503 on a machine so slow that they waited too long
    assert statuses[200] >= SHARE
    answer = next(one.result() for one in asked if one.result().status_code == 429)
    assert answer.headers["Retry-After"] == "5"
    assert f"{MAX_WAITING} of your requests wait already" in answer.json()["detail"]
    assert (
        'windsock_http_failures_total{reason="overloaded"} ' + f"{refused}.0"
        in monitor.client.get("/metrics").text
    )


def test_clients_that_have_gone_take_no_place(house: House) -> None:
    """Neither those whose requests wait, nor those whose reads are under way."""
    begun: list[int] = []

    async def slow(services: ServicesDep, _reader: ApiPrincipal) -> None:
        begun.append(1)
        await services.database.read(lambda connection: connection.execute(text(ENDLESS[house.kind])))

    house.monitor.app.add_api_route("/slow", slow)
    with house.reader("slow") as client:
        fields = f"Host: 127.0.0.1\r\nAuthorization: {client.headers['Authorization']}"
        head = f"GET /slow HTTP/1.1\r\n{fields}\r\n\r\n"
        clients = [socket.create_connection(("127.0.0.1", house.monitor.port)) for _ in range(UNDER_WAY)]
        for one in clients:
            one.sendall(head.encode())
        wait.until(lambda: len(begun) == UNDER_WAY, "the requests")
        for one in clients:
            one.close()

        def is_free() -> bool:
            return client.get("/api/v1/runs").status_code == 200

        wait.until(is_free, "room for the next request")
        assert 'database_errors_total{kind="operational"} 0.0' in house.monitor.client.get("/metrics").text


def test_who_waits_too_long_is_told_so(house: House) -> None:
    def slow() -> None:
        raise Overloaded(is_too_many=False)

    house.monitor.app.add_api_route("/slow", slow)
    answer = house.monitor.client.get("/slow")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "the database was busy with other requests, yours too, for 10 s" in answer.json()["detail"]
