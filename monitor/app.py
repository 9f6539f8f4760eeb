"""The wiring: one function makes the whole service from its settings; tests run it in-process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from monitor.clock import Clock, utc_now
from monitor.database import Database
from monitor.database.migrate import migrate
from monitor.feed import Feeds
from monitor.ingest import Ingest, Wakes
from monitor.metrics import Metrics
from monitor.retention import Retention
from monitor.rules import default_rules
from monitor.settings import Settings
from monitor.wake import Wake
from monitor.web.gate import Gate
from monitor.web.routes import mount
from monitor.web.services import Services

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]
"""One background task: runs until cancelled; its end, however it comes, is the service's end."""


def create_app(
    settings: Settings, clock: Clock = utc_now, on_fatal: Callable[[str], None] = logger.critical
) -> FastAPI:
    """The service. Its background work runs while the app's lifespan is open.

    `on_fatal` is told when a background task has died: the process must then end, because a monitor that
    serves pages and sends no mail looks healthy and is not.
    """
    services = _make_services(settings, clock)
    work = _background(services)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(migrate, services.database)
        tasks = [start_background(name, run, on_fatal) for name, run in work.items()]
        try:
            yield
        finally:
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            services.database.close()

    app = FastAPI(title="Windsock", version="0.1.0", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.services = services
    mount(app, settings)
    return app


def _make_services(settings: Settings, clock: Clock) -> Services:
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database)
    metrics = Metrics()
    wakes = Wakes(feed=Wake(), delivery=Wake(), reconciler=Wake())
    rules = default_rules(settings.notification_email_to, settings.notify_success)
    ingest = Ingest(database, rules, wakes, metrics, clock, settings.mail_host)
    feeds = Feeds(database, wakes.feed, metrics)
    gate = Gate(settings, None, clock)
    return Services(settings, database, ingest, wakes, metrics, clock, feeds, gate)


def _background(services: Services) -> dict[str, Work]:
    """Every background task by its name, in the order of starting; they stop in the other order."""
    retention = Retention(services.database, services.settings.retention_days, services.clock)
    return {"ingest": services.ingest.run, "retention": retention.run}


def start_background(name: str, run: Work, on_fatal: Callable[[str], None]) -> "asyncio.Task[None]":
    """Run background work as a named task; `on_fatal` is told when it ends before it is cancelled."""

    async def guarded() -> None:
        try:
            await run()
        except Exception as error:
            logger.exception("background task %s died", name)
            on_fatal(f"background task {name} died: {error!r}")
        else:
            on_fatal(f"background task {name} ended by itself")

    return asyncio.create_task(guarded(), name=name)
