"""What the monitor's tests stand on: a clock that is set by hand, a real database, a real server."""

import asyncio
import logging
import secrets
import tempfile
import threading
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from monitor.app import create_app
from monitor.cli.typer_app import listen
from monitor.clock import Clock, utc_now
from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.event_log.deployments import origin_of
from monitor.events.event import parse_event
from monitor.events.reports import FROM_REST
from monitor.settings import Settings
from monitor.settings_loading import load_settings
from monitor.web.server import HttpServer
from tests import wait
from tests.monitor_process import TLS
from tests.postgres_server import PostgresServer
from tests.sample import START

NOW = datetime(2026, 11, 22, 10, 0, 0, tzinfo=timezone.utc)
LONG_AFTER = 10.0 * 365 * 24  # hours: monitors by the machine's clock are told of the samples' time


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def make_secret() -> str:
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture(autouse=True)
def no_handler_is_left() -> Iterator[None]:
    """`serve`, called in a test, logs to that test's stderr, which is closed when the test ends."""
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    for handler in root.handlers[:]:
        if handler not in before and type(handler) is logging.StreamHandler:
            root.removeHandler(handler)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a monitor on its own: no sign-in, no Airflow, the embedded mailbox."""
    return load_settings(
        env_file=None,
        home=tmp_path,
        port=0,
        auth="none",
        ingest_secret=(SecretStr(make_secret()),),
        notification_email_to=("ops@example.com",),
        notify_max_age_hours=LONG_AFTER,
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.stop()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> str:
    """The address of an empty database."""
    return postgres.create()


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    """A migrated database, to be copied: that is quicker."""
    database = Database(postgres.create())
    migrate(database)
    database.close()
    return str(database.url.database)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database, of each kind in turn."""
    if request.param == "sqlite":
        (tmp_path / "windsock.db").write_bytes(migrated())
        database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    else:
        postgres, template = map(request.getfixturevalue, ("postgres", "postgres_template"))
        database = Database(postgres.create(template))
    yield database
    database.close()


@cache
def migrated() -> bytes:
    """An SQLite database as a start makes it: made once, as each of a thousand tests begins with one."""
    with tempfile.TemporaryDirectory(prefix="windsock-") as folder:
        file = Path(folder) / "windsock.db"
        database = Database(f"sqlite:///{file}")
        migrate(database)
        database.close()
        return file.read_bytes()


def sign(secret: str, body: str, at: datetime | None = None) -> dict[str, str]:
    """The headers of a signed request, made by the Standard Webhooks library."""
    moment = at or utc_now()
    message = f"msg_{uuid.uuid4().hex}"
    return {
        "Content-Type": "application/cloudevents-batch+json",
        "webhook-id": message,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, moment.replace(tzinfo=timezone.utc), body),
    }


class Live:
    """A monitor on a real server in a thread; `post` signs as the plugin does."""

    def __init__(self, settings: Settings, clock: Clock = utc_now) -> None:
        self._socket = listen("127.0.0.1", settings.port)
        self.port: int = self._socket.getsockname()[1]
        self.settings = settings.model_copy(update={"port": self.port})
        self.fatal: list[str] = []
        self.app = create_app(self.settings, clock, on_fatal=self.fatal.append)
        self.url = f"http://127.0.0.1:{self.port}"
        self._server = HttpServer(self.app, "127.0.0.1", self.port)
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self.client = httpx.Client(base_url=self.url, timeout=10, verify=TLS)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._server.serve(sockets=[self._socket])

    def start(self) -> "Live":
        file = self.settings.home / "windsock.db"
        if not self.settings.database_url and not file.exists():
            file.write_bytes(migrated())
        self._thread.start()
        wait.until(lambda: self._server.started or not self._thread.is_alive(), "the monitor to start")
        assert self._server.started
        # It has known this Airflow since before the samples' time, or their mails would be of the past.
        self.app.state.services.database.write_now(lambda connection: origin_of(connection, "local", START))
        return self

    def stop(self) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive(), "the monitor did not stop"
        self._socket.close()

    def loop_seconds(self) -> float:
        """Return the CPU time that the event loop has taken so far."""
        assert self._thread.ident is not None
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident))

    def post(self, events: Sequence[dict[str, Any]]) -> httpx.Response:
        """Send the events as a plugin does, with the secret of the first one's deployment. What the monitor
        takes from its own comparison with Airflow alone goes in as that reports it."""
        read = [raw for raw in events if self.settings.every_airflow and raw["type"] in FROM_REST]
        if read:
            take = self.app.state.services.ingest.take(list(map(parse_event, read)))
            asyncio.run_coroutine_threadsafe(take, self._loop).result(20)
        sent = [raw for raw in events if raw not in read]
        body = httpx.Request("POST", self.url, json=sent).content.decode()
        deployment = str(sent[0]["source"]).rpartition("/")[2] if sent else self.settings.deployment
        secrets = self.settings.ingest_secrets.get(deployment) or self.settings.ingest_secret
        return self.client.post(
            "/api/v1/events", content=body, headers=sign(secrets[0].get_secret_value(), body)
        )


@pytest.fixture
def live(settings: Settings) -> Iterator[Live]:
    monitor = Live(settings).start()
    yield monitor
    monitor.stop()
