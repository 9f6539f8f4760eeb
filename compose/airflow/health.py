"""Whether one of Airflow's components is alive: exit status 0, or 1 with a sentence.

    python health.py api                     the API server answers and reaches the database
    python health.py SchedulerJob            the component's own heartbeat is fresh
    python health.py worker                  this host's Celery worker answers through the broker

`airflow jobs check` shows the same of a heartbeat, but it imports all of Airflow. That takes seconds of
CPU and some 200 MiB each time, in three containers. So this program asks the table itself.
"""

from __future__ import annotations

import json
import socket
import sys
import urllib.request
from pathlib import Path

HEALTH = "http://127.0.0.1:8080/api/v2/monitor/health"
SECRETS = Path("/run/secrets")
TIMEOUT = 5  # seconds for each answer; the container's health check gives twice that
STALE_AFTER = 30  # seconds: Airflow's own threshold for all three; they beat every 5
HEARTBEAT = """
    SELECT EXTRACT(EPOCH FROM now() - max(latest_heartbeat)) FROM job
    WHERE job_type = %s AND state = 'running'
"""


def api() -> None:
    with urllib.request.urlopen(HEALTH, timeout=TIMEOUT) as answer:
        status = json.load(answer)["metadatabase"]["status"]
    if status != "healthy":
        sys.exit(f"the API server says that its database is {status}")


def heartbeat(job_type: str) -> None:
    import psycopg2

    url = (SECRETS / "AIRFLOW_DATABASE_URL").read_text().replace("+psycopg2", "", 1)
    connection = psycopg2.connect(url, connect_timeout=TIMEOUT)
    try:
        with connection.cursor() as cursor:
            cursor.execute(HEARTBEAT, (job_type,))
            (age,) = cursor.fetchone()
    finally:
        connection.close()
    if age is None:
        sys.exit(f"no {job_type} runs")
    if age > STALE_AFTER:
        sys.exit(f"the last heartbeat of {job_type} is {age:.0f} s old")


def worker() -> None:
    """Without Airflow's own Celery app, whose import takes seconds of CPU."""
    from celery import Celery  # type: ignore[import-not-found]  # of the image's, which checks here lack

    name = f"celery@{socket.gethostname()}"
    app = Celery(broker=(SECRETS / "AIRFLOW_BROKER_URL").read_text())
    if not app.control.ping(destination=[name], timeout=TIMEOUT):
        sys.exit(f"{name} does not answer within {TIMEOUT} s")


if __name__ == "__main__":
    if sys.argv[1] == "api":
        api()
    elif sys.argv[1] == "worker":
        worker()
    else:
        heartbeat(sys.argv[1])
