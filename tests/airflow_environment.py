"""Where tests find Airflow, and what they tell it: variables for each component, an empty database."""

import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
from base64 import urlsafe_b64encode
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = Path(
    os.environ.get("WINDSOCK_TEST_AIRFLOW_ENV", REPOSITORY / ".windsock" / "env" / "airflow-3.3.2")
)
"""The Python environment that holds Airflow."""
AIRFLOW = ENVIRONMENT / "bin" / "airflow"


def variables(home: Path, url: str, processes: int) -> dict[str, str]:
    """What every component needs to be told, the same for all: secrets made anew, nothing on a fixed port."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
    return kept | {
        "AIRFLOW_HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(processes),
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",  # it would listen on a port of its own
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",  # tests add files while it runs
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def empty_database(target: Path) -> None:
    """Copy a migrated, empty database to `target`; migrate once an environment, as it takes long."""
    version = (ENVIRONMENT / ".made").stat().st_mtime_ns if (ENVIRONMENT / ".made").exists() else 0
    cache = REPOSITORY / ".windsock" / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    template = cache / f"{ENVIRONMENT.name}-{version}.db"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not template.exists():
            _migrate(template)
    shutil.copyfile(template, target)


def _migrate(template: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="windsock-airflow-") as home:
        fresh = Path(home) / "airflow.db"
        subprocess.run(
            [AIRFLOW, "db", "migrate"],
            env={
                "PATH": os.environ["PATH"],
                "AIRFLOW_HOME": home,
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{fresh}",
            },
            check=True,
            capture_output=True,
        )
        partial = template.with_suffix(".partial")
        shutil.copyfile(fresh, partial)
        partial.rename(template)
