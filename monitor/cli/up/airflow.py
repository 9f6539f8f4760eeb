"""The Airflow that `windsock up` starts: its environment, and a client of its API."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from monitor.bounded_http import BoundedClient
from monitor.bounded_json import loads
from monitor.cli.up.home import ADMIN, Home, Secrets
from monitor.cli.up.processes import LOOPBACK, CannotStart
from monitor.errors import AirflowError, AirflowUnreachable
from monitor.settings import Settings

REQUEST_SECONDS = 20.0  # an api-server that starts while the machine is busy answers late, and it does answer
COMPONENTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
ENDED = frozenset({"success", "failed"})
SHOWN = 300  # characters of an answer that is no success
PAGE = 100  # the most that Airflow gives at once


@dataclass(frozen=True)
class DagRun:
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
            body = loads(answer.content) if answer.is_success else {}
        except (httpx.HTTPError, ValueError):
            return ["api_server"]
        return [name for name in COMPONENTS if (body.get(name) or {}).get("status") != "healthy"]

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

    async def trigger(self, dag_id: str) -> DagRun:
        """Start a run now."""
        path = f"/api/v2/dags/{dag_id}/dagRuns"
        return _run(await self._ask("POST", path, json={"logical_date": None}))

    async def run(self, dag_id: str, run_id: str) -> DagRun:
        """The run as it is now."""
        return _run(await self._get(_run_path(dag_id, run_id)))

    async def list_failed_tasks(self, run: DagRun) -> list[str]:
        """The tasks that failed in this run."""
        path = _run_path(run.dag_id, run.run_id) + "/taskInstances"
        found = await self._get(path, limit=PAGE, state="failed")
        return [task["task_id"] for task in found["task_instances"]]

    async def asset_events(self, run: DagRun) -> list[AssetEvent]:
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
            return _parse_response(await self._http.request(method, path, **content))
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


def _parse_response(answer: httpx.Response) -> dict[str, Any]:
    text = f"Airflow answered {answer.request.method} {answer.request.url.path} with {answer.status_code}"
    if answer.is_server_error:
        raise AirflowUnreachable(text)
    if not answer.is_success:
        raise AirflowError(f"{text}: {answer.text[:SHOWN]}")
    body: dict[str, Any] = answer.json()
    return body


def _run(body: dict[str, Any]) -> DagRun:
    return DagRun(body["dag_id"], body["dag_run_id"], body["state"], body["duration"])


PASSED_ON = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE"
    r"|WINDSOCK_TRAINING_(CSV|RUNS)"  # another file, or a broken one, to see what a failure looks like
    r"|(https?|all|no)_proxy|(HTTPS?|ALL|NO)_PROXY"
)
"""All that children get of the user's environment. The user's own AIRFLOW__* would make another Airflow."""
SUPPORTED = re.compile(r"3\.\d+\.\d+")
EXECUTOR_PROCESSES = 3  # a DAG's tasks one after the other, and one beside them for release and scoring
SQLITE_BUSY_SECONDS = 30  # four processes write; the driver's own 5 s are short on a busy machine
REPOSITORY = Path(__file__).parents[3]
CONNECT_SECONDS = 20
ORPHANS_SECONDS = 10  # tasks that the last stop cut off run again soon; by default after five minutes


def clean_base(environ: Mapping[str, str]) -> dict[str, str]:
    """What of the user's environment is passed on; a proxy is never asked for the loopback address."""
    base = {name: value for name, value in environ.items() if PASSED_ON.fullmatch(name)}
    for name in ("no_proxy", "NO_PROXY"):
        base[name] = ",".join(filter(None, [base.get(name), LOOPBACK, "localhost"]))
    return base


def find_airflow(environment: Path) -> str:
    """The version of the Airflow in this virtual environment. Raises CannotStart if there is none to use."""
    remedy = "`make run` makes one; or name another: windsock up --airflow PATH"
    if not (environment / "bin" / "airflow").is_file():
        raise CannotStart(f"{environment} holds no Airflow (there is no bin/airflow in it). {remedy}")
    folders = [str(folder) for folder in environment.glob("lib/python3*/site-packages")]
    found = [found.version for found in distributions(name="apache-airflow-core", path=folders)]
    version = found[0] if found else "older than 3"
    if not SUPPORTED.fullmatch(version):
        raise CannotStart(f"the Airflow in {environment} is {version}; Windsock needs 3.0 or later. {remedy}")
    return version


def check_repository() -> None:
    """Raises CannotStart if the DAGs and the plugin are not beside this package."""
    for needed in (REPOSITORY / "dags", REPOSITORY / "plugins" / "windsock_plugin.py"):
        if not needed.exists():
            raise CannotStart(f"{needed} is missing: `windsock up` runs from a checkout of the repository")


def airflow_environment(
    base: Mapping[str, str], home: Home, secrets: Secrets, settings: Settings, airflow_port: int
) -> dict[str, str]:
    """The environment of every Airflow process. `settings` are the monitor's."""
    options = {
        f"AIRFLOW__{section}__{option}".upper(): str(value)
        for section, values in _configuration(home, secrets, settings, airflow_port).items()
        for option, value in values.items()
    }
    return {
        **base,
        **options,
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(smtp_connection(settings)),
        "NOTIFICATION_EMAIL_TO": ",".join(settings.notification_email_to),
        "WINDSOCK_MODELS_DIR": str(home.models),
    }


def _configuration(
    home: Home, secrets: Secrets, settings: Settings, airflow_port: int
) -> dict[str, dict[str, object]]:
    """What differs from Airflow's defaults, by section."""
    url = f"http://{LOOPBACK}:{airflow_port}"
    return {
        "core": {
            "executor": "LocalExecutor",
            "parallelism": EXECUTOR_PROCESSES,
            "load_examples": False,
            "dags_folder": REPOSITORY / "dags",
            "plugins_folder": REPOSITORY / "plugins",
            "dags_are_paused_at_creation": False,
            "fernet_key": secrets.fernet_key,
            "auth_manager": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
            "simple_auth_manager_users": f"{ADMIN}:admin",
            "simple_auth_manager_passwords_file": home.airflow_passwords,
            "execution_api_server_url": f"{url}/execution/",
            "hostname_callable": "socket.gethostname",  # the default asks the name service, which may hang
        },
        "database": {"sql_alchemy_conn": f"sqlite:///{home.airflow_database}?timeout={SQLITE_BUSY_SECONDS}"},
        "api": {
            "host": LOOPBACK,
            "port": airflow_port,
            "base_url": url,
            "workers": 1,
            "secret_key": secrets.api_secret_key,
        },
        "api_auth": {"jwt_secret": secrets.jwt_secret},
        "scheduler": {
            "scheduler_idle_sleep_time": 0.5,
            "orphaned_tasks_check_interval": ORPHANS_SECONDS,
            "enable_health_check": False,  # a port of its own, on all addresses
        },
        "dag_processor": {"refresh_interval": 30, "parsing_processes": 1},
        "logging": {"colored_console_log": False},
        "usage_data_collection": {"enabled": False},
        "windsock": {
            "monitor_url": f"http://{LOOPBACK}:{settings.port}",
            "ingest_secret": secrets.ingest_secret,
            "deployment": settings.deployment,
            "spool_dir": home.spool,
        },
    }


def smtp_connection(settings: Settings) -> dict[str, object]:
    """Where the DAG's report goes: the mail server of the settings, else the embedded mailbox."""
    extra = {"from_email": settings.sender, "timeout": CONNECT_SECONDS, "retry_limit": 1}
    if settings.smtp_host is None:
        return {
            "conn_type": "smtp",
            "host": LOOPBACK,
            "port": settings.mailbox_smtp_port,
            "extra": {**extra, "disable_ssl": True, "disable_tls": True},
        }
    return {
        "conn_type": "smtp",
        "host": settings.smtp_host,
        "port": settings.smtp_port,
        "login": settings.smtp_username,
        "password": settings.smtp_password.get_secret_value() if settings.smtp_password else None,
        "extra": {
            **extra,
            "disable_ssl": settings.smtp_security != "tls",
            "disable_tls": settings.smtp_security != "starttls",
        },
    }
