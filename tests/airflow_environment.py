"""Where tests find Airflow, and what they tell it: the variables of each component."""

import os
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = Path(
    os.environ.get("WINDSOCK_TEST_AIRFLOW_ENV", REPOSITORY / ".windsock" / "env" / "airflow-3.3.2")
)
"""The Python environment that holds Airflow."""
AIRFLOW = ENVIRONMENT / "bin" / "airflow"


def version() -> tuple[int, ...]:
    """The version of the Airflow in the environment, such as (3, 3, 2); empty if there is none."""
    for metadata in ENVIRONMENT.glob("lib/python3*/site-packages/apache_airflow_core-*.dist-info"):
        return tuple(int(part) for part in metadata.name.split("-")[1].removesuffix(".dist").split("."))
    return ()


def variables(home: Path, url: str, database: str, processes: int) -> dict[str, str]:
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
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
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


def migration_variables(home: Path, database: str) -> dict[str, str]:
    """What `airflow db migrate` needs to be told."""
    return {
        "PATH": os.environ["PATH"],
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
    }
