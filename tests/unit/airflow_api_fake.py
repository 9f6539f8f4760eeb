"""A small HTTP server that answers as Airflow does, with failures by script: what no real one gives."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.served import served
from tests.unit.conftest import FakeClock

USERNAME = "monitor"
PASSWORD = "Airflow's own secret"
UPDATED = "_updated_at"
"""The row's updated_at: Airflow filters on it, and does not tell it."""

Row = dict[str, Any]
NO_ROUTE = JSONResponse({"error": "API route not found"}, 404)


@dataclass
class FakeAirflow:
    """Lists what the tests put into it, and keeps what it was asked."""

    clock: FakeClock
    runs: list[Row] = field(default_factory=list)
    tasks: list[Row] = field(default_factory=list)
    assets: list[Row] = field(default_factory=list)
    dags: list[str] = field(default_factory=list)
    dag_rows: list[Row] = field(default_factory=list)
    """DAGs of which more than the name matters."""
    import_errors: list[Row] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)
    """Of Airflow's components."""
    health_status: int = 200
    filed: list[Row] = field(default_factory=list)
    """Earlier tries, as `…/tries` shows them."""
    backfills: list[Row] = field(default_factory=list)
    asset_rows: list[Row] = field(default_factory=list)
    """Assets, with the DAGs that are scheduled on them."""
    conditions: dict[str, Row] = field(default_factory=dict)
    """By DAG, which assets it waits for."""
    waiting: dict[str, list[int]] = field(default_factory=dict)
    """By DAG, the assets whose updates wait for its run."""
    waits: list[Row] = field(default_factory=list)
    """Of every run, as `…/hitlDetails` shows them."""
    deleted_dags: set[str] = field(default_factory=set)
    audit: list[Row] | None = None
    """The audit log; None: the monitor's user may not read it."""
    version: str = "3.3.2"
    log: str = ""
    cursors: bool = True
    token_life: float = 3600
    failures: list[tuple[str, Response]] = field(default_factory=list)
    """Answered once, in this order, to requests whose path holds the text."""
    before_answer: Callable[[Request], None] = lambda _request: None
    logins: int = 0
    tokens: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def app(self) -> Starlette:
        routes = [
            Route("/auth/token", self._sign_in, methods=["POST"]),
            Route("/api/v2/version", self._version),
            Route("/api/v2/monitor/health", self._health),
            Route("/api/v2/dags/~/dagRuns/list", self._batch, methods=["POST"]),
            Route("/api/v2/dags/~/dagRuns/~/taskInstances/list", self._batch, methods=["POST"]),
            Route("/api/v2/{path:path}", self._answer),
        ]
        return Starlette(routes=routes)

    def requests(self, part: str) -> list[str]:
        return [path for path in self.asked if part in path]

    async def _version(self, _request: Request) -> Response:
        return JSONResponse({"version": self.version})

    async def _sign_in(self, request: Request) -> Response:
        self.logins += 1
        for number, (part, failure) in enumerate(self.failures):
            if part in request.url.path:
                del self.failures[number]
                return failure
        login = await request.json()
        if login != {"username": USERNAME, "password": PASSWORD}:
            return JSONResponse({"detail": "Invalid credentials"}, 401)
        token = self._token()
        self.tokens.add(token)
        return JSONResponse({"access_token": token}, 201)

    def _token(self) -> str:
        issued = (
            self.clock().timestamp() - 7200
        )  # two hours behind the monitor's clock: no life may depend on it
        claims = {"sub": USERNAME, "iat": issued, "exp": issued + self.token_life, "n": self.logins}
        middle = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return f"e30.{middle}.c2ln"

    def _health(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        return JSONResponse(self.health, self.health_status)

    def _answer(self, request: Request) -> Response:
        raw = request.scope["raw_path"].decode()
        self.asked.append(f"{raw}?{request.url.query}")
        self.before_answer(request)
        for number, (part, failure) in enumerate(self.failures):
            if part in raw:
                del self.failures[number]
                return failure
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            return JSONResponse({"detail": "Token Expired"}, 401)
        response = self._listing(request, raw)
        response.headers["Date"] = format_datetime(self.clock(), usegmt=True)
        return response

    def _listing(self, request: Request, path: str) -> Response:
        if "/logs/" in path:
            return PlainTextResponse(self.log, media_type="application/x-ndjson")
        others: dict[str, Callable[[], Response]] = {
            "/tries": lambda: self._tries(path),
            "/details": lambda: self._details(unquote(path.split("/")[-2])),
            "/queuedEvents": lambda: self._waiting_for(path.split("/")[-3]),
            "/eventLogs": lambda: self._audit_log(request),
            "/hitlDetails": lambda: self._questions(unquote(path.split("/")[-2])),
        }
        for end, answer in others.items():
            if path.endswith(end):
                return answer()
        dags = [*({"dag_id": dag} for dag in self.dags), *self.dag_rows]
        listings = {
            "/taskInstances": ("task_instances", self.tasks, "updated_at"),
            "/dagRuns": ("dag_runs", self.runs, "updated_at"),
            "/assets/events": ("asset_events", self.assets, "timestamp"),
            "/assets": ("assets", self.asset_rows, ""),
            "/dags": ("dags", dags, ""),
            "/backfills": ("backfills", self.backfills, ""),
            "/importErrors": ("import_errors", self.import_errors, ""),
        }
        for end, listing in listings.items():
            if path.endswith(end):
                return self._page(request, listing[0], _of_path(listing[1], path), listing[2])
        if "/dagRuns/" in path:
            return self._run(*(unquote(part) for part in path.split("/")[4::2]))
        return NO_ROUTE

    def _run(self, dag_id: str, run_id: str, *more: str) -> Response:
        if more or "/" in run_id:  # Starlette decodes a path before it looks for its route
            return NO_ROUTE
        for run in self.runs:
            if (run["dag_id"], run["dag_run_id"]) == (dag_id, run_id):
                return JSONResponse(_told(run))
        said = f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"
        return JSONResponse({"detail": said}, 404)

    async def _batch(self, request: Request) -> Response:
        """The listings that are asked for by a body."""
        self.asked.append(request.url.path)
        body = await request.json()
        columns = {"dag_ids": "dag_id", "dag_run_ids": "dag_run_id", "state": "state", "states": "state"}
        key, rows = ("dag_runs", self.runs)
        if request.url.path.endswith("/taskInstances/list"):
            key, rows = ("task_instances", self.tasks)
        found = [
            _told(row)
            for row in rows
            if all(row[column] in body[name] for name, column in columns.items() if name in body)
            and _is_due_within(row, body.get("run_after_gte"), body.get("run_after_lte"))
        ]
        start = body["page_offset"]
        page = found[start : start + min(body["page_limit"], 100)]
        return JSONResponse({key: page, "total_entries": len(found)})

    def _audit_log(self, request: Request) -> Response:
        if self.audit is None:
            return JSONResponse({"detail": "Forbidden"}, 403)
        query = request.query_params
        found = [
            row for row in self.audit if row["dag_id"] == query["dag_id"] and row["event"] == query["event"]
        ]
        return JSONResponse({"event_logs": found, "total_entries": len(found)})

    def _tries(self, path: str) -> Response:
        """What is filed, then the latest one unless it is up_for_retry; none of them with its id."""
        *_, dag_id, _, run_id, _, task_id, map_index, _ = map(unquote, path.split("/"))
        wanted = (dag_id, run_id, task_id, int(map_index))
        latest = [row for row in self.tasks if row["state"] != "up_for_retry"]
        found = [
            {name: value for name, value in _told(row).items() if name != "id"}
            for row in [*self.filed, *latest]
            if tuple(row[name] for name in ("dag_id", "dag_run_id", "task_id", "map_index")) == wanted
        ]
        if not found:
            named = (
                f"dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}` and map_index: `{map_index}`"
            )
            return JSONResponse({"detail": f"The Task Instance with {named} was not found"}, 404)
        return JSONResponse({"task_instances": found, "total_entries": len(found)})

    def _questions(self, run_id: str) -> Response:
        found = [row for row in self.waits if run_id in ("~", row["task_instance"]["dag_run_id"])]
        return JSONResponse({"hitl_details": found, "total_entries": len(found)})

    def _waiting_for(self, dag_id: str) -> Response:
        waiting = self.waiting.get(dag_id)
        if not waiting:
            return JSONResponse({"detail": f"Queue event with dag_id: `{dag_id}` was not found"}, 404)
        rows = [{"dag_id": dag_id, "asset_id": number} for number in waiting]
        return JSONResponse({"queued_events": rows, "total_entries": len(rows)})

    def _details(self, dag_id: str) -> Response:
        if dag_id in self.deleted_dags:
            return JSONResponse({"detail": f"Dag with id: {dag_id} was not found"}, 404)
        known = next((row for row in self.dag_rows if row["dag_id"] == dag_id), {})
        return JSONResponse({"dag_id": dag_id, "asset_expression": self.conditions.get(dag_id), **known})

    def _page(self, request: Request, key: str, rows: list[Row], column: str) -> Response:
        query = request.query_params
        states = query.getlist("state")
        since, until = query.get(f"{column}_gte"), query.get(f"{column}_lte")
        found = [
            row
            for row in rows
            if (not states or row["state"] in states)
            and (not since or _when(row) >= datetime.fromisoformat(since.replace("Z", "+00:00")))
            and (not until or _when(row) <= datetime.fromisoformat(until.replace("Z", "+00:00")))
            and _is_due_within(row, query.get("run_after_gte"), query.get("run_after_lte"))
        ]
        limit = min(int(query["limit"]), 100)
        cursor = query.get("cursor") if self.cursors else None
        start = int(cursor) if cursor else int(query.get("offset", 0))
        page = found[start : start + limit]
        answer: dict[str, Any] = {key: [_told(row) for row in page], "total_entries": len(found)}
        if self.cursors and "cursor" in query:
            answer["next_cursor"] = str(start + limit) if start + limit < len(found) else None
        return JSONResponse(answer)


def _of_path(rows: list[Row], path: str) -> list[Row]:
    """Those of the one run that the path names, if it names one."""
    parts = [unquote(part) for part in path.split("/")]
    if not path.endswith("/taskInstances") or parts[-2] == "~":
        return rows
    return [row for row in rows if (row["dag_id"], row["dag_run_id"]) == (parts[-4], parts[-2])]


def _when(row: Row) -> datetime:
    moment = row.get(UPDATED) or datetime.fromisoformat(row["timestamp"].replace("Z", "+00:00"))
    assert isinstance(moment, datetime)
    return moment


def _is_due_within(row: Row, since: str | None, until: str | None) -> bool:
    due = row.get("run_after", "")
    return not (since and due < since) and not (until and due > until)


def _told(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != UPDATED}


@contextmanager
def serving(fake: FakeAirflow) -> Iterator[FakeAirflow]:
    """The fake on a real socket of the loopback address."""
    with served(fake.app(), date_header=False) as url:
        fake.url = url
        yield fake


def moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def run_row(
    run_id: str,
    ended: datetime,
    state: str = "success",
    updated: datetime | None = None,
    due: datetime | None = None,
) -> Row:
    start = ended - timedelta(seconds=10)
    return {
        "dag_run_id": run_id,
        "dag_id": "etl",
        "state": state,
        "run_type": "manual",
        "queued_at": moment(start),
        "run_after": moment(due or start),
        "start_date": moment(start),
        "end_date": None if state == "running" else moment(ended),
        UPDATED: updated or ended,
    }


def task_row(
    number: int,
    ended: datetime,
    state: str = "success",
    updated: datetime | None = None,
    due: datetime | None = None,
) -> Row:
    return {
        "id": f"01936a5e-0000-7000-8000-{number:012d}",
        "dag_run_id": "manual__1",
        "dag_id": "etl",
        "run_after": moment(due or ended),
        "task_id": f"task_{number}",
        "map_index": -1,
        "try_number": 1,
        "max_tries": 0,
        "state": state,
        "start_date": moment(ended - timedelta(seconds=1)),
        "end_date": None if state == "running" else moment(ended),
        "operator": "PythonOperator",
        "hostname": "worker-1",
        UPDATED: updated or ended,
    }


def asset_row(number: int, made: datetime, created: list[str] | None = None) -> Row:
    return {
        "id": number,
        "uri": f"file:///models/{number}.pkl",
        "name": f"{number}.pkl",
        "group": "asset",
        "extra": {},
        "source_dag_id": "etl",
        "source_run_id": "manual__1",
        "source_task_id": "task_1",
        "source_map_index": -1,
        "created_dagruns": [{"dag_id": "release", "run_id": run} for run in created or ()],
        "timestamp": moment(made),
    }
