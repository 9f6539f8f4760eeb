"""How Airflow's processes are set up: everything by environment variables, on a clean base."""

import json
import re
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

from monitor.settings import Settings
from monitor.up.errors import CannotStart
from monitor.up.home import ADMIN, Home, Secrets
from monitor.up.ports import LOOPBACK

PASSED_ON = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE"
    r"|WINDSOCK_TRAINING_(CSV|RUNS)"  # another file, or a broken one, to see what a failure looks like
    r"|(https?|all|no)_proxy|(HTTPS?|ALL|NO)_PROXY"
)
"""All that children get of the user's environment. The user's own AIRFLOW__* would make another Airflow."""
SUPPORTED = re.compile(r"3\.\d+\.\d+")
EXECUTOR_PROCESSES = 3  # a DAG's tasks one after the other, and one beside them for release and scoring
SQLITE_BUSY_SECONDS = 30  # four processes write; the driver's own 5 s are short on a busy machine
REPOSITORY = Path(__file__).parents[2]
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
