"""The list of all routers, mounted on the app in one place."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from monitor.concurrency import Overloaded
from monitor.delivery.messages.links import LinkError
from monitor.settings import Settings
from monitor.web.api import (
    assets,
    deliveries,
    events,
    feed,
    health,
    incidents,
    ingest,
    runs,
    silences,
    tokens,
)
from monitor.web.compression import CompressionMiddleware
from monitor.web.dependencies import SignInNeeded, find_principal
from monitor.web.http_protocol import BodyLimitMiddleware
from monitor.web.middleware import (
    AccessLogMiddleware,
    HeadMiddleware,
    UnexpectedErrorMiddleware,
    on_client_gone,
    on_database_away,
    on_overloaded,
)
from monitor.web.openapi import describe
from monitor.web.pages import action_links, dashboard, forms, login, templates
from monitor.web.pages import assets as assets_pages
from monitor.web.pages import deliveries as deliveries_pages
from monitor.web.pages import events as events_pages
from monitor.web.pages import incidents as incidents_pages
from monitor.web.pages import runs as runs_pages
from monitor.web.pages import settings as settings_pages
from monitor.web.pages import silences as silences_pages
from monitor.web.pages import tokens as tokens_pages
from monitor.web.paths import PrefixMiddleware, VersionedFiles, prefix_of
from monitor.web.problems import error_handlers
from monitor.web.security import SecurityMiddleware
from monitor.web.templating import STATIC

ROUTERS = (
    ingest.router,
    feed.router,
    events.router,
    events.decisions_router,
    runs.router,
    assets.router,
    deliveries.router,
    incidents.router,
    silences.router,
    tokens.router,
    health.router,
    login.router,
    runs_pages.status_router,
    dashboard.router,
    runs_pages.router,
    events_pages.router,
    deliveries_pages.preview_router,
    assets_pages.router,
    incidents_pages.router,
    silences_pages.router,
    deliveries_pages.router,
    settings_pages.router,
    templates.router,
    tokens_pages.router,
    action_links.silence_router,
    action_links.acknowledge_router,
    action_links.unsubscribe_router,
    templates.docs_router,
)


def mount(app: FastAPI, settings: Settings) -> None:
    """Give the app its routes, its error answers and its security."""
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", VersionedFiles(STATIC), name="static")
    on_http_error, on_invalid_request = error_handlers(find_principal)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(SignInNeeded, login.on_sign_in_needed)
    app.add_exception_handler(LinkError, forms.on_link_error)
    for away in (OperationalError, InterfaceError, InternalError, PoolTimeout):
        app.add_exception_handler(away, on_database_away)
    app.add_exception_handler(Overloaded, on_overloaded)
    app.add_exception_handler(ClientDisconnect, on_client_gone)
    describe(app, settings)
    # The last is the outermost.
    app.add_middleware(BodyLimitMiddleware, metrics=app.state.services.metrics)
    app.add_middleware(UnexpectedErrorMiddleware)
    app.add_middleware(CompressionMiddleware)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(SecurityMiddleware, settings=settings)
    app.add_middleware(AccessLogMiddleware, metrics=app.state.services.metrics)
    app.add_middleware(PrefixMiddleware, prefix=prefix_of(settings.url))
