"""The services that request handlers use.

`create_app` makes them once, and a handler finds them at `request.app.state.services`. A handler's database
is a `RequestDatabase`, so that no handler reads or writes among the monitor's own work.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, cast

from fastapi import Depends, Request
from sqlalchemy import Connection
from starlette.requests import ClientDisconnect

from monitor.clock import Clock
from monitor.concurrency import end
from monitor.database.engine import Database, Transactions
from monitor.database.write_check import WriteCheck
from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.messages.links import Links
from monitor.delivery.messages.renderer import Renderer
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.feed.connections import FeedServer
from monitor.observability.metrics import Metrics
from monitor.observability.tracing import OFF, Traces
from monitor.rules.reload import LiveRules
from monitor.settings import Settings
from monitor.web.airflow_lookups import AskedAirflow, Lineage
from monitor.web.auth.authenticator import Authenticator
from monitor.web.auth.rate_limit import address_of


@dataclass(frozen=True)
class PartHealth:
    """The health of one part of the service, for /health and the dashboard."""

    status: Literal["ok", "down", "unknown"]
    detail: str
    at: datetime | None = None
    """The moment at which the part was last known to be well."""
    remedy: str = ""
    """The remedy, if anything is to be done."""


Report = Callable[[], Awaitable[Mapping[str, PartHealth]]]
"""Asked for the health of parts by name, such as `airflow local`. Raises SQLAlchemyError."""


@dataclass(frozen=True)
class Services:
    """The parts of the monitor that requests use."""

    settings: Settings
    database: Transactions
    """The monitor's own database. A handler has its request's (`RequestDatabase`)."""
    write_check: WriteCheck
    ingest: Ingest
    wakes: Wakeups
    metrics: Metrics
    clock: Clock
    feed_server: FeedServer
    authenticator: Authenticator
    links: Links
    rules: LiveRules
    renderer: Renderer
    lineage: Lineage
    """The makers and users of an asset, as Airflow names them."""
    lookups: AskedAirflow
    """The questions of pages to Airflow."""
    mailbox: Mailbox | None = None
    """None where mail goes to an SMTP server."""
    traces: Traces = OFF
    reports: Sequence[Report] = field(default=())
    """The reconciler's and the mailer's word on how they are."""


WATCHED = frozenset({"GET", "HEAD"})  # methods without a body, after which only the client's end can come
WATCH_AFTER = 0.1  # seconds: most reads are quicker, and watching costs a twentieth of a short answer

T = TypeVar("T")


def whose_of(request: Request) -> str:
    """Return the text by which the share of a request's user is counted.
    It is the user's once the user is known (`identify`), and the address's before that."""
    return getattr(request.state, "whose", None) or f"address {address_of(request.scope)}"


async def while_wanted(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await the work, and cancel it if the client goes. Raises ClientDisconnect."""
    if request.method not in WATCHED:
        return await work
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait({working}, timeout=WATCH_AFTER)
        if not working.done():
            await _wait_or_client_goes(request, working)
    finally:
        if not working.done():
            await end((working,))
    return working.result()


async def _wait_or_client_goes(request: Request, working: "asyncio.Future[Any]") -> None:
    """Wait for the work. Raises ClientDisconnect if the client goes before it ends."""
    gone = asyncio.ensure_future(_client_goes(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end((gone,))
    if not working.done():
        raise ClientDisconnect


async def _client_goes(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class RequestDatabase:
    """The database as one request uses it: in its user's turn, and only as long as the client waits."""

    def __init__(self, database: Database, request: Request, is_probe: bool = False) -> None:
        """Keep the request.
        `is_probe` marks a read of the monitor's state, which is kept apart from the monitor's own work."""
        self._database = database
        self._request = request
        self._read = database.read_for_probe if is_probe else database.read_for

    async def read(self, function: Callable[[Connection], T]) -> T:
        """Read in the user's turn. Raises Overloaded, ClientDisconnect, OperationalError (`is_too_long`)."""
        return await while_wanted(self._request, self._read(whose_of(self._request), function))

    async def write(self, function: Callable[[Connection], T]) -> T:
        """Write in the user's turn. Raises Overloaded."""
        return await self._database.write_for(whose_of(self._request), function)

    async def run(self, function: Callable[[], T]) -> T:
        """Run long work that is not of the database in a thread. Raises Overloaded, ClientDisconnect."""
        return await while_wanted(self._request, self._database.run_for(whose_of(self._request), function))


def _build_services(request: Request, is_probe: bool) -> Services:
    services = cast(Services, request.app.state.services)
    database = RequestDatabase(cast(Database, services.database), request, is_probe)
    return replace(services, database=database)


# Coroutines, because FastAPI calls functions in threads.
async def get_services(request: Request) -> Services:
    """Return the services for a request."""
    return _build_services(request, is_probe=False)


async def _probed_services(request: Request) -> Services:
    return _build_services(request, is_probe=True)


ServicesDep = Annotated[Services, Depends(get_services)]
"""The parameter type of a handler that needs services."""
ProbedServicesDep = Annotated[Services, Depends(_probed_services)]
"""The parameter type of a handler that says how the monitor is, however busy its users are."""
