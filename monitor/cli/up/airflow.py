"""The Airflow that `windsock up` starts: its version, and the environment of its processes."""

import json
import re
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from monitor.cli.up.home import ADMIN, Home, Secrets
from monitor.cli.up.processes import LOOPBACK, CannotStart
from monitor.settings import Settings

PASSED_ON = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE"
    r"|WINDSOCK_TRAINING_(CSV|RUNS)"  # another file, or a broken one, to see what a failure looks like
    r"|(https?|all|no)_proxy|(HTTPS?|ALL|NO)_PROXY"
)
"""All that children get of the user's environment. The user's own AIRFLOW__* would make another Airflow."""
SUPPORTED = re.compile(r"3\.\d+\.\d+")
EXECUTOR_PROCESSES = 3  # a DAG's tasks run one after the other, and release and scoring need one more process
SQLITE_BUSY_SECONDS = 30  # four processes write, and the driver's own 5 s are short on a busy machine
AUTH_MANAGER = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
REPOSITORY = Path(__file__).parents[3]
CONNECT_SECONDS = 20
ORPHANS_SECONDS = 10  # tasks that the last stop cut off run again soon. The default is five minutes


def clean_base(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the user's environment that is passed on.

    No proxy is used for the loopback address."""
    base = {name: value for name, value in environ.items() if PASSED_ON.fullmatch(name)}
    for name in ("no_proxy", "NO_PROXY"):
        base[name] = ",".join(filter(None, [base.get(name), LOOPBACK, "localhost"]))
    return base


def find_airflow(environment: Path) -> str:
    """Return the version of the Airflow in this virtual environment.
    Raises CannotStart if it holds no usable Airflow."""
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
    """Raise CannotStart if the DAGs and the plugin are not next to this package."""
    for needed in (REPOSITORY / "dags", REPOSITORY / "plugins" / "windsock_plugin.py"):
        if not needed.exists():
            raise CannotStart(f"{needed} is missing: `windsock up` runs from a checkout of the repository")


def airflow_environment(
    base: Mapping[str, str], home: Home, secrets: Secrets, settings: Settings, airflow_port: int
) -> dict[str, str]:
    """Return the environment of every Airflow process. `settings` are the monitor's."""
    url = f"http://{LOOPBACK}:{airflow_port}"
    options = {
        "core__executor": "LocalExecutor",
        "core__parallelism": EXECUTOR_PROCESSES,
        "core__load_examples": False,
        "core__dags_folder": REPOSITORY / "dags",
        "core__plugins_folder": REPOSITORY / "plugins",
        "core__dags_are_paused_at_creation": False,
        "core__fernet_key": secrets.fernet_key,
        "core__auth_manager": AUTH_MANAGER,
        "core__simple_auth_manager_users": f"{ADMIN}:admin",
        "core__simple_auth_manager_passwords_file": home.airflow_passwords,
        "core__execution_api_server_url": f"{url}/execution/",
        "core__hostname_callable": "socket.gethostname",  # the default asks the name service, which may hang
        "database__sql_alchemy_conn": f"sqlite:///{home.airflow_database}?timeout={SQLITE_BUSY_SECONDS}",
        "api__host": LOOPBACK,
        "api__port": airflow_port,
        "api__base_url": url,
        "api__workers": 1,
        "api__secret_key": secrets.api_secret_key,
        "api_auth__jwt_secret": secrets.jwt_secret,
        "scheduler__scheduler_idle_sleep_time": 0.5,
        "scheduler__orphaned_tasks_check_interval": ORPHANS_SECONDS,
        "scheduler__enable_health_check": False,  # a port of its own, on all addresses
        "dag_processor__refresh_interval": 30,
        "dag_processor__parsing_processes": 1,
        "logging__colored_console_log": False,
        "usage_data_collection__enabled": False,
        "windsock__monitor_url": f"http://{LOOPBACK}:{settings.port}",
        "windsock__ingest_secret": secrets.ingest_secret,
        "windsock__deployment": settings.deployment,
        "windsock__spool_dir": home.spool,
    }
    return {
        **base,
        **{f"AIRFLOW__{option.upper()}": str(value) for option, value in options.items()},
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(smtp_connection(settings)),
        "NOTIFICATION_EMAIL_TO": ",".join(settings.notification_email_to),
        "WINDSOCK_MODELS_DIR": str(home.models),
    }


def smtp_connection(settings: Settings) -> dict[str, object]:
    """Return the connection for the DAG's report: the mail server of the settings, else the mailbox."""
    is_mailbox = settings.smtp_host is None
    return {
        "conn_type": "smtp",
        "host": LOOPBACK if is_mailbox else settings.smtp_host,
        "port": settings.mailbox_smtp_port if is_mailbox else settings.smtp_port,
        "login": None if is_mailbox else settings.smtp_username,
        "password": settings.smtp_password.get_secret_value() if settings.smtp_password else None,
        "extra": {
            "from_email": settings.sender,
            "timeout": CONNECT_SECONDS,
            "retry_limit": 1,
            "disable_ssl": is_mailbox or settings.smtp_security != "tls",
            "disable_tls": is_mailbox or settings.smtp_security != "starttls",
        },
    }
