"""A small HTTP server of the tests' own, in a thread: what stands in for an Airflow at the network's edge."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from tests import wait

STOP_SECONDS = 20.0


@contextmanager
def served(app: Starlette, date_header: bool = True) -> Iterator[str]:
    """Serve the app on a free port of the loopback address; gives its URL."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, access_log=False, date_header=date_header
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="served", daemon=True)
    thread.start()
    try:
        wait.until(lambda: server.started or not thread.is_alive(), "the small server to start")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(STOP_SECONDS)
