"""The stack that `tests/compose/run` has brought up, as people and programs on this machine see it."""

import json
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from httpx_sse import connect_sse

from tests.compose.engine import Engine

ADDRESS = "127.0.0.1"
ANSWER_SECONDS = 30.0  # the API server's first answers take seconds on a busy machine
MAILS = 1000  # all that the sink keeps
PAGE = 500  # events a request, the most that the monitor gives
BEGINNING = "2020-01-01T00:00:00Z"  # before any event

Event = dict[str, Any]


class Stack:
    """Everything goes over the ports on the loopback address."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.engine = Engine(environ["COMPOSE_PROJECT_NAME"])
        self.recipient = environ["NOTIFICATION_EMAIL_TO"]
        self.settings = read_env(Path(environ["ENV_FILE"]))
        self._airflow, self.monitor_url, self._mailpit = (
            f"http://{ADDRESS}:{environ[f'{name}_PORT']}" for name in ("AIRFLOW", "MONITOR", "MAILPIT")
        )
        self._http = httpx.Client(timeout=ANSWER_SECONDS, trust_env=False)

    def close(self) -> None:
        self._http.close()

    @cached_property
    def bearer(self) -> dict[str, str]:
        """The header of the first user, signed in to Airflow."""
        return self.sign_in(self.settings["AIRFLOW_USERNAME"], self.settings["AIRFLOW_PASSWORD"])

    def sign_in(self, username: str, password: str) -> dict[str, str]:
        """A header with Airflow's token. Raises HTTPStatusError."""
        login = {"username": username, "password": password}
        answer = self._http.post(f"{self._airflow}/auth/token", json=login).raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def airflow(self, path: str) -> httpx.Response:
        return self._http.get(f"{self._airflow}/api/v2/{path}", headers=self.bearer)

    def trigger(self, dag_id: str, who: Mapping[str, str]) -> httpx.Response:
        url = f"{self._airflow}/api/v2/dags/{dag_id}/dagRuns"
        return self._http.post(url, json={"logical_date": None}, headers=dict(who))

    def runs(self) -> list[tuple[str, str]]:
        """DAG and state of every run."""
        found = self.airflow("dags/~/dagRuns").raise_for_status().json()["dag_runs"]
        return sorted((run["dag_id"], run["state"]) for run in found)

    def runs_by_id(self) -> dict[str, tuple[str, str]]:
        """DAG and state of every run, by the run's id, as Airflow's database has them."""
        rows = self.engine.query("SELECT run_id, dag_id, state FROM dag_run")
        return {row["run_id"]: (row["dag_id"], row["state"]) for row in rows}

    def mails(self) -> list[dict[str, Any]]:
        """What the mail sink has taken, newest first."""
        who = (self.settings["AIRFLOW_USERNAME"], self.settings["MAILPIT_PASSWORD"])
        answer = self.mail_sink(f"api/v1/messages?limit={MAILS}", who).raise_for_status()
        messages: list[dict[str, Any]] = answer.json()["messages"]
        return messages

    def mail_sink(self, path: str, who: tuple[str, str] | None = None) -> httpx.Response:
        """Ask the mail sink's page or API, signed in or not."""
        return self._http.get(f"{self._mailpit}/{path}", auth=who)

    def monitor(self, path: str, **query: int) -> httpx.Response:
        return self._http.get(f"{self.monitor_url}/{path}", params=query, headers=self.bearer)

    def log(self) -> list[Event]:
        """Every event of the monitor's log, oldest first."""
        return [row["event"] for row in self._every("events")][::-1]

    def deliveries(self) -> list[dict[str, Any]]:
        """What the monitor says of each mail."""
        return self._every("deliveries")

    def _every(self, what: str) -> list[dict[str, Any]]:
        """Page after page, newest first."""
        found: list[dict[str, Any]] = []
        query: dict[str, int] | None = {}
        while query is not None:
            page = self.monitor(f"api/v1/{what}", limit=PAGE, **query).raise_for_status().json()
            found += page[what]
            query = {"cursor": page["next"]} if page["next"] else None
        return found

    def feed(self, enough: Callable[[list[Event]], bool], deadline: float) -> list[Event]:
        """What the live feed tells from the log's beginning until it is enough."""
        end = time.monotonic() + deadline
        events: list[Event] = []
        with connect_sse(
            self._http, "GET", f"{self.monitor_url}/events", params={"since": BEGINNING}, headers=self.bearer
        ) as source:
            for frame in source.iter_sse():
                if frame.data:
                    events.append(json.loads(frame.data))
                if enough(events):
                    return events
                assert time.monotonic() < end, f"{len(events)} events in {deadline} s"
        raise AssertionError(f"the feed ended by itself after {len(events)} events")


def read_env(path: Path) -> dict[str, str]:
    """The settings of an .env file without quotes, as a fresh one is."""
    lines = (line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in lines if equals}
