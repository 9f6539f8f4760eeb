"""The requests to Airflow's REST API."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from monitor.airflow.connection import (
    MAX_TIMEOUTS,
    AirflowConnection,
    Params,
    PassedOver,
    no_answer,
    redact_url,
    unaddressable,
    unreadable,
)
from monitor.airflow.paging import PAGE_SIZE, ListingPage, Row, pages, rows_of
from monitor.airflow.task_logs import LogTail
from monitor.clock import Clock
from monitor.errors import AirflowNotFound, AirflowUnaddressable
from monitor.events.data import moment_from
from monitor.events.identity import stamp
from monitor.settings import Settings
from monitor.settings_values import AirflowSettings

COMPONENTS = ("scheduler", "triggerer", "dag_processor")
"""The components by Airflow's names. The metadata database is not among them, because Airflow answers
nothing without it."""
HEALTHY = "healthy"


@dataclass(frozen=True)
class Component:
    """A component of Airflow that was started at least once."""

    name: str
    status: str
    """healthy, unhealthy, or a word that a later Airflow may have."""
    heartbeat: datetime | None
    """The latest."""

    @property
    def spelled(self) -> str:
        """The name as Airflow's commands and documentation write it: `dag-processor`."""
        return self.name.replace("_", "-")

    @property
    def is_healthy(self) -> bool:
        """True if Airflow calls the component healthy."""
        return self.status == HEALTHY


def components(health: Mapping[str, Any]) -> list[Component]:
    """Return the components in Airflow's answer.
    A component whose status is null was never started and is left out."""
    found = ((name, health.get(name)) for name in COMPONENTS)
    return [
        Component(name, str(value["status"]), _moment(value.get(f"latest_{name}_heartbeat")))
        for name, value in found
        if isinstance(value, Mapping) and value.get("status") is not None
    ]


def _moment(value: Any) -> datetime | None:
    try:
        return moment_from(value)
    except ValueError:
        return None


def is_addressable(name: str) -> bool:
    """Return True if a name can stand in a path of Airflow's REST API.
    With a wider allowed_run_id_pattern, run ids may hold `/`. No path of Airflow's REST API takes such an
    id, however it is written (Airflow 3.0 to 3.3). A proxy may decode the path and resolve `..` in it, so
    that a question about one DAG would be a question about another one."""
    return not {"/", "\\"} & set(name) and name not in (".", "..")


def quote_segment(name: str) -> str:
    """Quote a name as one part of a path. Raise AirflowUnaddressable if it could be more than one part."""
    if not is_addressable(name):
        raise AirflowUnaddressable(f"{name[:SHOWN_NAME]!r} cannot stand in a path of Airflow's REST API")
    return quote(name, safe="")


def run_path(dag_id: str, run_id: str) -> str:
    """Return the path of a run in Airflow's REST API."""
    return f"/dags/{quote_segment(dag_id)}/dagRuns/{quote_segment(run_id)}"


NDJSON = "application/x-ndjson"
SHOWN_NAME = 200  # characters of a name in an error
AUDIT_ENTRIES = 20
NO_LOG = ("TaskInstance",)  # "TaskInstance not found": Airflow names no more of it
LIKE_IT = 100  # assets whose URIs hold a URI: a page of Airflow's

PageAnswer = Awaitable[tuple[Row, datetime]]
TimeRange = tuple[datetime | None, datetime | None]
"""A start and an end, both included. None means no bound."""
ANY_TIME: TimeRange = (None, None)


class AirflowApi:
    """The REST API of one Airflow.

    Every method raises AirflowUnreachable (try again), AirflowRefused, or AirflowError if the answer makes
    no sense. AirflowNotFound is raised only if Airflow itself says that it does not know this very thing. A
    listing without the thing does not say that, because a listing holds what its reader may read."""

    def __init__(
        self, deployment: str, url: str, username: str, password: str, timeout: float, clock: Clock
    ) -> None:
        self.deployment = deployment
        self._timeout = timeout
        self._connection = AirflowConnection(url, username, password, timeout, clock)

    @classmethod
    def from_settings(
        cls, deployment: str, airflow_settings: AirflowSettings, timeout: float, clock: Clock
    ) -> "AirflowApi":
        """Return the API of the Airflow that the settings describe."""
        return cls(
            deployment,
            airflow_settings.url,
            airflow_settings.username,
            airflow_settings.password.get_secret_value(),
            timeout,
            clock,
        )

    @classmethod
    def all_of(cls, settings: Settings, clock: Clock) -> "dict[str, AirflowApi]":
        """Return the API of every Airflow in the settings, by its deployment's name, the first one first."""
        return {
            name: cls.from_settings(name, airflow_settings, settings.airflow_timeout, clock)
            for name, airflow_settings in settings.every_airflow.items()
        }

    @property
    def passed_over(self) -> PassedOver:
        """The rows of its listings that are too much to read."""
        return self._connection.passed_over

    @property
    def url(self) -> str:
        """The address of this Airflow."""
        return self._connection.url

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def version(self) -> str:
        """Return Airflow's version. This needs no sign-in."""
        return str((await self._connection.get_public("/version")).get("version", ""))

    async def health(self) -> dict[str, Any]:
        """Return the state of Airflow's own components. This needs no sign-in."""
        return await self._connection.get_public("/monitor/health")

    async def sign_in(self, username: str, password: str) -> str:
        """Return a token for a user of Airflow. Raises AirflowRefused if name or password are wrong."""
        return await self._connection.sign_in(username, password)

    async def own_token(self) -> str:
        """Return a token of the monitor's own user that does not end soon."""
        return await self._connection.own_token()

    async def trigger(self, dag_id: str) -> Row:
        """Start a run now. Only `windsock up` does: the monitor writes nothing to Airflow."""
        path = f"/dags/{quote_segment(dag_id)}/dagRuns"
        return (await self._connection.post(path, {"logical_date": None}))[0]

    async def readable_dags(self, token: str | None = None) -> set[str]:
        """Return the dag_ids that the token's owner may read.
        Without a token, the owner is the monitor's own user. Raises AirflowRefused if the token has ended."""
        rows = [row async for page in self.dags(token) for row in page.rows]
        return {dag_id for row in rows if isinstance(dag_id := row.get("dag_id"), str)}

    async def may_read(self) -> int:
        """Return the number of DAGs that the monitor's own user may read."""
        answer, _ = await self._connection.get("/dags", {"limit": 1, "exclude_stale": False})
        total = answer.get("total_entries")
        if not isinstance(total, int):
            raise unreadable(self.url, "GET /dags", "it has no total_entries")
        return total

    async def dag(self, dag_id: str) -> Row:
        """Return the DAG as Airflow has it (its DAGDetailsResponse)."""
        return await self._about(f"/dags/{quote_segment(dag_id)}/details", {"dag_id": dag_id})

    async def dag_run(self, dag_id: str, run_id: str) -> Row:
        """Return the run as Airflow has it (its DAGRunResponse)."""
        if not is_addressable(run_id):
            return await self._unaddressable_run(dag_id, run_id)
        return await self._about(run_path(dag_id, run_id), {"dag_id": dag_id, "dag_run_id": run_id})

    async def task_instances(
        self, dag_id: str, run_id: str, state: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Return the task instances of a run: all, or those in one of these states."""
        if not is_addressable(run_id):
            rows = await self._tasks_of_unaddressable(dag_id, run_id, state)
            if not rows:  # the list lacks what may not be read, too
                await self.dag_run(dag_id, run_id)
            return rows
        return [row async for page in self.tasks_of(dag_id, run_id, state) for row in page.rows]

    def tasks_of(
        self, dag_id: str, run_id: str, state: Sequence[str] = ()
    ) -> AsyncGenerator[ListingPage, None]:
        """Yield the task instances of a run in pages. Raises AirflowUnaddressable too."""
        params = {"cursor": "", "order_by": "id", "state": list(state)}
        path = f"{self._path_of(dag_id, run_id)}/taskInstances"
        return self._pages(path, "task_instances", params, (run_id,))

    async def tries(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> ListingPage:
        """Return every try of a task, the archived ones and the latest, without their UUIDs.
        Airflow does not page them, and leaves out a latest try that is up_for_retry. Raises
        AirflowUnaddressable too."""
        path = f"{self._path_of(dag_id, run_id)}/taskInstances/{quote_segment(task_id)}/{map_index}/tries"
        path_ids = (dag_id, run_id, task_id)
        found = self._pages(path, "task_instances", {}, path_ids, is_paged=False)
        (page,) = [page async for page in found]
        return page

    async def log_tail(
        self, dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int, lines: int
    ) -> list[str]:
        """Return the last lines of a try's log as text, with an error's traceback.
        Raises AirflowUnaddressable too."""
        path = f"{self._path_of(dag_id, run_id)}/taskInstances/{quote_segment(task_id)}/logs/{try_number}"
        tail = LogTail(lines)
        try:
            # A log may be long: it is read once, as it comes, and only its end is kept.
            await asyncio.wait_for(self._read_log(path, map_index, tail), self._timeout * MAX_TIMEOUTS)
        except asyncio.TimeoutError as error:
            raise no_answer(self.url, f"GET {path}", error) from error
        return await asyncio.to_thread(tail.text)  # up to a hundred long records are to be cleaned

    async def human_questions(self, dag_id: str, run_id: str) -> list[Row]:
        """Return the questions that a run's tasks asked a person, answered or not (Airflow 3.1 and newer)."""
        if is_addressable(run_id):
            found = self._pages(f"{run_path(dag_id, run_id)}/hitlDetails", "hitl_details", {}, (run_id,))
            return [row async for page in found for row in page.rows]
        every = self._pages("/dags/~/dagRuns/~/hitlDetails", "hitl_details", {"dag_id_pattern": dag_id})
        rows = [(row, row.get("task_instance") or {}) async for page in every for row in page.rows]
        path_ids = (dag_id, run_id)
        return [row for row, task in rows if (task.get("dag_id"), task.get("dag_run_id")) == path_ids]

    async def runs_of(
        self, dag_id: str, until: datetime, state: Sequence[str], limit: int
    ) -> list[dict[str, Any]]:
        """Return a DAG's latest runs that had begun by then and are in one of these states, newest first."""
        params = {"order_by": "-start_date", "start_date_lte": stamp(until), "state": list(state)}
        return await self._first(f"/dags/{quote_segment(dag_id)}/dagRuns", "dag_runs", params, limit)

    async def last_runs(self, dag_id: str, limit: int) -> list[Row]:
        """Return a DAG's runs that have ended, ordered from the latest due date back."""
        params = {"order_by": "-run_after", "state": ["success", "failed"]}
        return await self._first(f"/dags/{quote_segment(dag_id)}/dagRuns", "dag_runs", params, limit)

    async def audit_entries(self, dag_id: str, event: str, after: datetime) -> list[Row]:
        """Return the latest entries of Airflow's audit log about a DAG. The role Viewer may not read them."""
        params = {"order_by": "-when", "dag_id": dag_id, "event": event, "after": stamp(after)}
        return await self._first("/eventLogs", "event_logs", params, AUDIT_ENTRIES)

    async def asset_events_of(self, dag_id: str, run_id: str, limit: int) -> list[dict[str, Any]]:
        """Return the first asset events that a run made."""
        params = {"order_by": "timestamp", "source_dag_id": dag_id, "source_run_id": run_id}
        return await self._first("/assets/events", "asset_events", params, limit)

    def runs_updated(
        self,
        since: datetime,
        until: datetime | None = None,
        state: Sequence[str] = (),
        run_after: TimeRange = ANY_TIME,
    ) -> AsyncGenerator[ListingPage, None]:
        """Yield the runs of every DAG that Airflow updated in this time and that were due in `run_after`."""
        return self._pages(
            "/dags/~/dagRuns", "dag_runs", _build_update_params(since, until, state, run_after)
        )

    def task_instances_updated(
        self,
        since: datetime,
        until: datetime | None = None,
        state: Sequence[str] = (),
        run_after: TimeRange = ANY_TIME,
    ) -> AsyncGenerator[ListingPage, None]:
        """Yield the task instances that Airflow updated in this time, of runs due in `run_after`."""
        path = "/dags/~/dagRuns/~/taskInstances"
        return self._pages(path, "task_instances", _build_update_params(since, until, state, run_after))

    def asset_events(
        self, since: datetime, until: datetime | None = None
    ) -> AsyncGenerator[ListingPage, None]:
        """Yield the asset events of this time, oldest first."""
        params = {"order_by": "timestamp", **_range("timestamp", since, until)}
        return self._pages("/assets/events", "asset_events", params)

    def runs_dated(self, dag_id: str, since: datetime, until: datetime) -> AsyncGenerator[ListingPage, None]:
        """Yield a DAG's runs whose logical dates are in this time, both ends included."""
        params: Params = {"cursor": "", "order_by": "id", **_range("logical_date", since, until)}
        return self._pages(f"/dags/{quote_segment(dag_id)}/dagRuns", "dag_runs", params, (dag_id,))

    def backfills(self, dag_id: str) -> AsyncGenerator[ListingPage, None]:
        """Yield every backfill of a DAG, completed ones too."""
        return self._pages("/backfills", "backfills", {"dag_id": dag_id, "order_by": "id"})

    def runs_in(self, state: str) -> AsyncGenerator[ListingPage, None]:
        """Yield the runs of every DAG that are in this state now.
        The parameter is one state, because Airflow has an index of the queued runs and one of the running
        runs."""
        params = {"cursor": "", "order_by": "id", "state": [state]}
        return self._pages("/dags/~/dagRuns", "dag_runs", params)

    def assets(self) -> AsyncGenerator[ListingPage, None]:
        """Yield the assets that some DAG names, each with the DAGs that are scheduled on it."""
        return self._pages("/assets", "assets", {"order_by": "id"})

    async def asset(self, uri: str) -> dict[str, Any] | None:
        """Return an asset with the DAGs scheduled on it and the tasks that make and use it.
        None means that no DAG names the asset. (Airflow searches for a part of the URI, in which `%` and `_`
        stand for any characters.)"""
        found = await self._first("/assets", "assets", {"order_by": "id", "uri_pattern": uri}, LIKE_IT)
        return next((row for row in found if row.get("uri") == uri), None)

    async def asset_condition(self, dag_id: str) -> Row | None:
        """Return the condition on assets that a DAG waits for.
        It is `{"all": […]}` or `{"any": […]}` of `{"asset": {"id", …}}`."""
        condition = (await self.dag(dag_id)).get("asset_expression")
        return condition if isinstance(condition, dict) else None

    async def assets_waiting(self, dag_id: str) -> set[int]:
        """Return the ids of the assets whose updates wait for a run of this DAG that they are to begin."""
        path = f"/dags/{quote_segment(dag_id)}/assets/queuedEvents"
        try:
            answer, _ = await self._connection.get(path, path_ids=(dag_id,))
        except AirflowNotFound:  # none, to Airflow 3.0
            return set()
        rows = rows_of(answer, "queued_events", f"GET {path}", self.url)
        return {number for row in rows if isinstance(number := row.get("asset_id"), int)}

    def import_errors(self) -> AsyncGenerator[ListingPage, None]:
        """Yield the present import errors."""
        return self._pages("/importErrors", "import_errors", {"order_by": "id"})

    def dags(self, token: str | None = None) -> AsyncGenerator[ListingPage, None]:
        """Yield the DAGs that the token's owner may read, stale ones too.
        Without a token, the owner is the monitor's own user."""
        params: Params = {"order_by": "dag_id", "exclude_stale": False}
        return self._pages("/dags", "dags", params, token=token)

    def _pages(
        self,
        path: str,
        key: str,
        params: Params,
        path_ids: Collection[str] = (),
        token: str | None = None,
        size: int = PAGE_SIZE,
        is_paged: bool = True,
    ) -> AsyncGenerator[ListingPage, None]:
        def ask(place: Params) -> PageAnswer:
            return self._connection.get(path, place, token, path_ids)

        return pages(self._connection, ask, f"GET {path}", key, params, size, is_paged)

    def _post_pages(self, path: str, key: str, body: Params) -> AsyncGenerator[ListingPage, None]:
        """Yield the pages of a listing whose question is a body."""

        def ask(place: Params) -> PageAnswer:
            paged = {"page_limit": place.pop("limit"), "page_offset": place.pop("offset")}
            return self._connection.post(path, place | paged)

        return pages(self._connection, ask, f"POST {path}", key, body)

    async def _about(self, path: str, names: dict[str, str]) -> Row:
        """Return Airflow's object of these names. Raises AirflowError for an answer about another object."""
        answer, _ = await self._connection.get(path, path_ids=names.values())
        if any(answer.get(field) != name for field, name in names.items()):
            raise unreadable(self.url, f"GET {path}", f"it is not about {' of '.join(names.values())}")
        return answer

    async def _unaddressable_run(self, dag_id: str, run_id: str) -> Row:
        """Find a run whose id cannot stand in a path.
        Airflow lists the runs that were due when the run's tasks were, because that listing needs no run_id.
        """
        body: Params = {"dag_ids": [dag_id], "order_by": "-run_after"}
        tasks = await self._tasks_of_unaddressable(dag_id, run_id, (), limit=1)
        if due := tasks and tasks[0].get("run_after"):
            body |= {"run_after_gte": due, "run_after_lte": due}
        async with aclosing(self._post_pages("/dags/~/dagRuns/list", "dag_runs", body)) as found:
            async for page in found:
                for row in page.rows:
                    if (row.get("dag_id"), row.get("dag_run_id")) == (dag_id, run_id):
                        return row
        await self.dag(dag_id)  # it may be read: so the list is complete
        raise AirflowNotFound(f"Airflow at {redact_url(self.url)} lists no run {run_id!r} of {dag_id!r}")

    async def _tasks_of_unaddressable(
        self, dag_id: str, run_id: str, state: Sequence[str], limit: int | None = None
    ) -> list[Row]:
        body: Params = {"dag_ids": [dag_id], "dag_run_ids": [run_id], "order_by": "id"}
        body |= {"state": list(state)} if state else {}
        rows: list[Row] = []
        path = "/dags/~/dagRuns/~/taskInstances/list"
        async with aclosing(self._post_pages(path, "task_instances", body)) as found:
            async for page in found:
                rows += page.rows
                if limit and len(rows) >= limit:
                    break
        return rows

    def _path_of(self, dag_id: str, run_id: str) -> str:
        """Return the run's path. Raises AirflowUnaddressable if its id cannot stand in one."""
        if not is_addressable(run_id):
            raise unaddressable(self.url, run_id)
        return run_path(dag_id, run_id)

    async def _first(self, path: str, key: str, params: Params, limit: int) -> list[dict[str, Any]]:
        """Return the first rows of a listing, at most a page of them."""
        size = min(limit, PAGE_SIZE)
        rows: list[Row] = []
        async with aclosing(self._pages(path, key, params, size=size)) as found:
            async for page in found:
                rows += page.rows
                if len(rows) >= size:
                    break
        return rows[:size]

    async def _read_log(self, path: str, map_index: int, tail: LogTail) -> None:
        async with self._connection.stream(path, {"map_index": map_index}, NDJSON, NO_LOG) as pieces:
            async for piece in pieces:
                tail.take(piece)
                if tail.full:
                    return


def _build_update_params(
    since: datetime, until: datetime | None, state: Sequence[str], run_after: TimeRange
) -> Params:
    params: Params = {"cursor": "", "order_by": "id", "state": list(state)}
    return params | _range("updated_at", since, until) | _range("run_after", *run_after)


def _range(column: str, since: datetime | None, until: datetime | None) -> Params:
    bounds = {f"{column}_gte": since, f"{column}_lte": until}
    return {name: stamp(bound) for name, bound in bounds.items() if bound}
