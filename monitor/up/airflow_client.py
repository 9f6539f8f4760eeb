"""The little that `windsock up` asks of Airflow's REST API, and the token that opens the monitor's too."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from monitor.bounded_http import BoundedClient
from monitor.bounded_json import loads
from monitor.errors import AirflowError, AirflowUnreachable

REQUEST_SECONDS = 20.0  # an api-server that starts while the machine is busy answers late, and it does answer
COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
ENDED = frozenset({"success", "failed"})
SHOWN = 300  # characters of an answer that is no success
PAGE = 100  # the most that Airflow gives at once


@dataclass(frozen=True)
class Run:
    """A DAG run, as Airflow has it."""

    dag_id: str
    run_id: str
    state: str
    seconds: float | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class AssetEvent:
    """An update of an asset, with the runs that it began."""

    asset: str
    extra: dict[str, Any]
    began: tuple[tuple[str, str], ...]


class SignIn(httpx.Auth):
    """Airflow's token as a bearer token; a new one is fetched when Airflow or the monitor refuses it."""

    def __init__(self, airflow_url: str, username: str, password: str) -> None:
        self._ask = httpx.Request(
            "POST", f"{airflow_url}/auth/token", json={"username": username, "password": password}
        )
        self._token = ""

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
            answer = yield request
            if answer.status_code != httpx.codes.UNAUTHORIZED:
                return
        answer = yield self._ask
        if answer.status_code == httpx.codes.CREATED:
            self._token = loads(await answer.aread())["access_token"]
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class AirflowClient:
    """Reads and triggers runs. Raises AirflowUnreachable (ask again) or AirflowError."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def unhealthy(self) -> list[str]:
        """The components that do not yet say that they are well."""
        try:
            answer = await self._http.get("/api/v2/monitor/health", auth=None)
            said = loads(answer.content) if answer.is_success else {}
        except (httpx.HTTPError, ValueError):
            return ["api_server"]
        return [name for name in COMPONENTS if (said.get(name) or {}).get("status") != "healthy"]

    async def healthy(self) -> bool:
        """Whether all of them do."""
        return not await self.unhealthy()

    async def active_dags(self) -> set[str]:
        """The DAGs that are known and not paused."""
        found = await self._get("/api/v2/dags", limit=PAGE, paused=False)
        return {dag["dag_id"] for dag in found["dags"]}

    async def import_errors(self) -> list[str]:
        """Why a DAG's file could not be read: the last line of each."""
        found = await self._get("/api/v2/importErrors", limit=PAGE)
        return [
            f"{error['filename']}: {error['stack_trace'].strip().splitlines()[-1]}"
            for error in found["import_errors"]
        ]

    async def trigger(self, dag_id: str) -> Run:
        """Start a run now."""
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        return _run(await self._ask("POST", path, json={"logical_date": None}))

    async def run(self, dag_id: str, run_id: str) -> Run:
        """The run as it is now."""
        return _run(await self._get(_run_path(dag_id, run_id)))

    async def failed_tasks(self, run: Run) -> list[str]:
        """The tasks that failed in this run."""
        path = _run_path(run.dag_id, run.run_id) + "/taskInstances"
        found = await self._get(path, limit=PAGE, state="failed")
        return [task["task_id"] for task in found["task_instances"]]

    async def asset_events(self, run: Run) -> list[AssetEvent]:
        """The asset updates that this run made.

        Airflow 3.3.2 answers 500 while a run that one of them began has not started; that is over soon.
        """
        path = "/api/v2/assets/events"
        found = await self._get(
            path, limit=PAGE, source_dag_id=run.dag_id, source_run_id=run.run_id, order_by="timestamp"
        )
        return [
            AssetEvent(
                event["name"],
                event["extra"] or {},
                tuple((began["dag_id"], began["run_id"]) for began in event["created_dagruns"]),
            )
            for event in found["asset_events"]
        ]

    async def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return await self._ask("GET", path, params=query)

    async def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            return _checked(await self._http.request(method, path, **content))
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise AirflowUnreachable(f"no answer from Airflow to {method} {path}: {reason}") from error


@asynccontextmanager
async def open_client(url: str, sign_in: SignIn) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one server on this machine; the user's proxy is not asked."""
    async with BoundedClient(base_url=url, auth=sign_in, trust_env=False, timeout=REQUEST_SECONDS) as client:
        yield client


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}"


def _checked(answer: httpx.Response) -> dict[str, Any]:
    said = f"Airflow answered {answer.request.method} {answer.request.url.path} with {answer.status_code}"
    if answer.is_server_error:
        raise AirflowUnreachable(said)
    if not answer.is_success:
        raise AirflowError(f"{said}: {answer.text[:SHOWN]}")
    body: dict[str, Any] = answer.json()
    return body


def _run(body: dict[str, Any]) -> Run:
    return Run(body["dag_id"], body["dag_run_id"], body["state"], body["duration"])
