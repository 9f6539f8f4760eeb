"""Whether one of Airflow's components is alive: exit status 0, or 1 with a sentence.

    python health.py api                     the API server answers and reaches the database
    python health.py SchedulerJob            the component's own heartbeat is fresh

`airflow jobs check` tells the same of a heartbeat and imports all of Airflow to do so: seconds of CPU and
some 200 MiB each time, in three containers. This asks the table itself.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

HEALTH = "http://127.0.0.1:8080/api/v2/monitor/health"
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
    import psycopg2  # type: ignore[import-untyped]

    url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "", 1)
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


if __name__ == "__main__":
    if sys.argv[1] == "api":
        api()
    else:
        heartbeat(sys.argv[1])
