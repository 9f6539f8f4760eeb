"""The service, as it starts and ends; tests run it in-process. What it is made of: assembly.py."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from fastapi import FastAPI

from monitor import __version__
from monitor.assembly import Work, assemble
from monitor.clock import Clock, utc_now
from monitor.database.migrate import migrate
from monitor.ending import end
from monitor.settings import Settings
from monitor.web.routes import mount

logger = logging.getLogger(__name__)


def create_app(
    settings: Settings,
    clock: Clock = utc_now,
    on_fatal: Callable[[str], None] = logger.critical,
    environment: Mapping[str, str] = MappingProxyType({}),
    is_migrated: bool = False,
) -> FastAPI:
    """The service. Its background work runs while the app's lifespan is open. Raises SettingsError.

    `environment` is what the rules file may name. `on_fatal` is told when a background task has died: the
    process must then end, because a monitor that serves pages and sends no mail looks healthy and is not.
    `is_migrated`: the caller has brought the database to this release's schema.
    """
    parts = assemble(settings, clock, environment)
    services = parts.services

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if not is_migrated:
            await asyncio.to_thread(migrate, services.database)
        await services.gate.adopt_tokens()
        tasks = [start_background(name, run, on_fatal) for name, run in parts.work.items()]
        try:
            yield
        finally:
            await end(reversed(tasks))
            await asyncio.gather(*(api.close() for api in parts.airflows))
            await asyncio.to_thread(services.traces.close)
            services.database.close()

    # Starlette's redirect to a path without a slash at its end goes where the Host header says.
    app = FastAPI(
        title="Windsock",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,  # docs_page.py serves it
        redirect_slashes=False,
    )
    app.state.services = services
    mount(app, settings)
    return app


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
