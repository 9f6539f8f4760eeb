"""What request handlers work with: made once by create_app, found at `request.app.state.services`."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from monitor.clock import Clock
from monitor.database import Database
from monitor.ingest import Ingest, Wakes
from monitor.metrics import Metrics
from monitor.settings import Settings


@dataclass(frozen=True)
class Services:
    settings: Settings
    database: Database
    ingest: Ingest
    wakes: Wakes
    metrics: Metrics
    clock: Clock


def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


Here = Annotated[Services, Depends(_services)]
"""The parameter type of a handler that needs services."""
