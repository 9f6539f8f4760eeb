"""A Celery worker, and the forwarder that sends what its tasks left in the spool.

A task's process sends its own events within a budget; what is left goes out with the next task on this host,
or with the forwarder where there is none. The end of either ends the container, which is then started anew.
SIGTERM goes to the worker, which lets its tasks end; the forwarder sends what they report until then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

FORWARDER = [sys.executable, "-m", "airflow_windsock.forwarder"]
WORKER = ["airflow", "celery", "worker", "--celery-hostname", "celery@%h"]
PLUGINS = Path("/opt/airflow/plugins")  # what Airflow adds to its own path
LAST_SECONDS = 10  # for the forwarder, which ends a request first


def main() -> int:
    """The exit status of whichever ended first."""
    path = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH")]))
    forwarder = subprocess.Popen(FORWARDER, env=os.environ | {"PYTHONPATH": path})  # noqa: S603
    worker = subprocess.Popen(WORKER)  # noqa: S603
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda number, _: worker.send_signal(number))
    ended, status = os.wait()
    status = os.waitstatus_to_exitcode(status)
    if ended == forwarder.pid:
        print(f"the forwarder ended with {status}; the worker is stopped", file=sys.stderr)  # noqa: T201
        worker.terminate()
        worker.wait()
        return status or 1
    forwarder.terminate()
    try:
        forwarder.wait(LAST_SECONDS)
    except subprocess.TimeoutExpired:
        forwarder.kill()
    return status


if __name__ == "__main__":
    sys.exit(main())
