"""The forwarder: the drainer as a process of its own, on Airflow's machine or in a sidecar.

Its command is `python -m airflow_windsock.forwarder`.

The forwarder reads the settings that Airflow would read. They come from Airflow if Airflow is installed,
otherwise from the variables AIRFLOW__WINDSOCK__*. The forwarder needs the spool directory that the plugin
writes, and the same user."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence

from airflow_windsock import settings as configuration
from airflow_windsock.backoff import Backoff
from airflow_windsock.drainer import Drainer
from airflow_windsock.sender import MAX_BATCH, Later, Sender
from airflow_windsock.settings import Settings
from airflow_windsock.spool import Spool

log = logging.getLogger("airflow_windsock.forwarder")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the forwarder and return its exit status.

    0: stopped by SIGTERM or SIGINT, or the spool is empty after --once.
    1: something is left after --once.
    2: the settings do not allow to send."""
    parser = argparse.ArgumentParser(
        prog="python -m airflow_windsock.forwarder",
        description="Sends what waits in the spool to the monitor.",
    )
    parser.add_argument(
        "--once", action="store_true", help="send what is there and exit: 0 if nothing is left"
    )
    once = parser.parse_args(arguments).once
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    settings = _settings()
    if settings is None or settings.endpoint is None or not settings.sends:
        log.error("windsock: nothing can be sent: set [windsock] monitor_url and ingest_secret")
        return 2
    spool = Spool(settings.spool_dir, settings.max_events, settings.max_bytes)
    sender = Sender(settings, settings.endpoint, spool)
    drainer = Drainer(spool, sender, Backoff(settings.spool_dir / "backoff"), MAX_BATCH)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: drainer.stop())
    return _once(drainer) if once else _forever(drainer, settings)


def _settings() -> Settings | None:
    try:
        settings, problems = configuration.from_airflow()
    except ImportError:
        settings, problems = configuration.from_environment()
    for problem in problems:
        log.error("windsock: %s", problem)
    return settings


def _once(drainer: Drainer) -> int:
    try:
        empty = drainer.drain_once()
    except (Later, OSError) as error:
        log.error("windsock: events stay in the spool: %s", error)  # noqa: TRY400 (a sentence is enough)
        return 1
    log.info("windsock: %s", "nothing is left in the spool" if empty else "events are left in the spool")
    return 0 if empty else 1


def _forever(drainer: Drainer, settings: Settings) -> int:
    log.info("windsock: sending from %s", settings.spool_dir)
    drainer.run()
    log.info("windsock: stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
