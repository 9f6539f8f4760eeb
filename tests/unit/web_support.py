"""What the tests of the web stand on: a monitor on its own server, an Airflow that signs people in, and a
reader of the feed.
"""

import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent, connect_sse
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monitor.clock import Clock, utc_now
from monitor.settings import Settings
from tests import wait
from tests.sample import run_event
from tests.served import served
from tests.unit.conftest import Live

ONE_RUN = re.compile("/dagRuns/[^/]+$")
"""Of which the Airflow below tells nothing: mails wait for its word, and no event is taken back."""
MONITOR_USER = ("monitor", "the monitor's own secret")


class Served(Live):
    """A monitor on the server that `windsock serve` runs, by a clock of the test's choice."""


@contextmanager
def serving(settings: Settings, clock: Clock = utc_now) -> Iterator[Served]:
    monitor = Served(settings, clock)
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()


@dataclass
class SignInAirflow:
    """A small server that answers as Airflow does: tokens for passwords, DAGs for tokens."""

    passwords: dict[str, str] = field(default_factory=lambda: dict([MONITOR_USER]))
    dags: dict[str, list[str]] = field(default_factory=dict)
    """What each user may read."""
    away: bool = False
    logins: int = 0
    asked: int = 0
    """How often somebody's DAGs were asked for."""
    tokens: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def add(self, user: str, password: str, dags: list[str]) -> None:
        self.passwords[user] = password
        self.dags[user] = dags

    def token(self, user: str) -> str:
        """A token as a program gets it, from Airflow itself."""
        token = f"token-{len(self.tokens)}-of-{quote(user)}"
        self.tokens[token] = user
        return token

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/auth/token", self._sign_in, methods=["POST"]),
                Route("/api/v2/dags", self._list_dags),
                Route("/api/v2/{path:path}", self._nothing),
            ]
        )

    async def _sign_in(self, request: Request) -> Response:
        self.logins += 1
        login = await request.json()
        if self.away:
            return JSONResponse({"detail": "away"}, 503)
        if self.passwords.get(login["username"]) != login["password"]:
            return JSONResponse({"detail": "Invalid credentials"}, 401)
        return JSONResponse({"access_token": self.token(login["username"])}, 201)

    def _list_dags(self, request: Request) -> Response:
        self.asked += 1
        user = self.tokens.get(request.headers["authorization"].removeprefix("Bearer "))
        if self.away:
            return JSONResponse({"detail": "away"}, 503)
        if user is None:
            return JSONResponse({"detail": "Token Expired"}, 401)
        start, limit = int(request.query_params.get("offset", 0)), int(request.query_params["limit"])
        dags = self.dags.get(user, [])
        page = [{"dag_id": dag} for dag in dags[start : start + limit]]
        return JSONResponse({"dags": page, "total_entries": len(dags)})

    def _nothing(self, request: Request) -> Response:
        if self.away or ONE_RUN.search(request.url.path):
            return JSONResponse({"detail": "away"}, 503)
        key = {"dagRuns": "dag_runs", "taskInstances": "task_instances", "events": "asset_events"}
        key["importErrors"] = "import_errors"
        return JSONResponse({key.get(request.url.path.rpartition("/")[2], "rows"): [], "total_entries": 0})

    @contextmanager
    def serving(self) -> Iterator["SignInAirflow"]:
        with served(self.app()) as url:
            self.url = url
            yield self


def with_sign_in(settings: Settings, airflow: SignInAirflow) -> Settings:
    """The settings of a monitor that signs people in at this Airflow."""
    user, password = MONITOR_USER
    changes = {"auth": "airflow", "airflow_url": airflow.url, "airflow_username": user}
    return settings.model_copy(update={**changes, "airflow_password": SecretStr(password)})


def hidden(name: str, page: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


def try_to_sign_in(browser: httpx.Client, user: str, password: str, target: str = "/") -> httpx.Response:
    """Through the form, as a browser does."""
    page = browser.get("/login", params={"next": target}).text
    form = {
        "username": user,
        "password": password,
        "next": hidden("next", page),
        "csrf": hidden("csrf", page),
    }
    return browser.post("/login", data=form)


def follows_the_rights(monitor: Served, reader: "FeedReader", gone: str, come: str) -> bool:
    """Whether a feed, whose reader may no longer read one DAG and may read another, tells of the other within
    seconds, and from then on of the first no more."""

    def told() -> list[tuple[str, str]]:
        return [(event["data"]["dag_id"], event["data"]["run_id"]) for event in reader.events]

    def post(run_id: str) -> None:
        monitor.post([run_event("running", dag_id, run_id) for dag_id in (gone, come)])

    def is_told_of_come() -> bool:
        post(f"run_{next(numbers)}")
        return any(dag_id == come for dag_id, _ in told())

    numbers = count()
    wait.until(is_told_of_come, f"the feed to tell of {come}")
    post("the last")
    wait.until(lambda: (come, "the last") in told(), "the last run in the feed")
    dags = [dag_id for dag_id, _ in told()]
    return gone not in dags[dags.index(come) :]


class FeedReader:
    """Reads a feed in a thread, by a library that is not ours."""

    def __init__(
        self,
        url: str,
        path: str = "/events",
        headers: dict[str, str] | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self.messages: list[ServerSentEvent] = []
        self.ended = threading.Event()
        self.error: Exception | None = None
        self.status = 0
        self._socket: socket.socket
        self._client = httpx.Client(base_url=url, timeout=20, headers=headers, verify=verify)
        self._path = path
        self._open = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed reader", daemon=True)

    def __enter__(self) -> "FeedReader":
        self._thread.start()
        wait.until(lambda: self._open.is_set() or self.ended.is_set(), "the feed to open")
        return self

    def __exit__(self, *_: object) -> None:
        if not self.ended.is_set():
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
        self._thread.join(20)
        self._client.close()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            with connect_sse(self._client, "GET", self._path) as source:
                self.status = source.response.status_code
                source.response.raise_for_status()
                self._socket = source.response.extensions["network_stream"].get_extra_info("socket")
                self._open.set()
                for message in source.iter_sse():
                    self._take(message)
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            self.error = error
        finally:
            self.ended.set()

    def _take(self, message: ServerSentEvent) -> None:
        self.messages.append(message)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in self.messages if message.event != "message"]

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        wait.until(lambda: len(self.events) >= count, f"{count} events in the feed")
        return self.events
