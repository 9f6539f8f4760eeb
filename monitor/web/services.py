"""The services that request handlers use.

`create_app` makes them once, and a handler finds them at `request.app.state.services`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal, cast

from fastapi import Depends, Request

from monitor.clock import Clock
from monitor.database.engine import Database
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


@dataclass(frozen=True)
class PartHealth:
    """How one part of the service is, for /health and the dashboard."""

    status: Literal["ok", "down", "unknown"]
    detail: str
    at: datetime | None = None
    """When it was last known to be well."""
    remedy: str = ""
    """What to do about it, where something is to be done."""


Report = Callable[[], Awaitable[Mapping[str, PartHealth]]]
"""Asked for the health of parts by name, such as `airflow local`. Raises SQLAlchemyError."""


@dataclass(frozen=True)
class Services:
    settings: Settings
    database: Database
    write_check: WriteCheck
    ingest: Ingest
    wakes: Wakeups
    metrics: Metrics
    clock: Clock
    feeds: FeedServer
    gate: Authenticator
    links: Links
    rules: LiveRules
    renderer: Renderer
    lineage: Lineage
    """Who makes and who uses an asset, as Airflow says."""
    asked: AskedAirflow
    """What a page asks Airflow."""
    mailbox: Mailbox | None = None
    """None where mail goes to an SMTP server."""
    traces: Traces = OFF
    reports: Sequence[Report] = field(default=())
    """The reconciler's and the mailer's word on how they are."""


def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]
"""The parameter type of a handler that needs services."""
