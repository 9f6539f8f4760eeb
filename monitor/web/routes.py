"""Everything that is served, mounted on the app in one place."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from monitor.links import LinkError
from monitor.settings import Settings
from monitor.web import (
    asset_pages,
    assets_api,
    decisions_api,
    deliveries_api,
    delivery_preview,
    docs_page,
    events_api,
    health,
    incident_pages,
    incidents_api,
    link_acknowledge,
    link_silence,
    link_unsubscribe,
    log_api,
    mail_pages,
    now_page,
    pages,
    receive,
    run_pages,
    runs_api,
    settings_page,
    sign_in,
    signed,
    silence_pages,
    silences_api,
    status,
    template_pages,
    token_pages,
    tokens_api,
)
from monitor.web.bounded_bodies import BoundedBodies
from monitor.web.hand_over import HandOver
from monitor.web.head import Head
from monitor.web.observed import Observed
from monitor.web.openapi import describe
from monitor.web.prefix import Prefix, prefix_of
from monitor.web.problem import on_http_error, on_invalid_request
from monitor.web.reader import SignInNeeded
from monitor.web.rendering import STATIC
from monitor.web.security import Security
from monitor.web.static_files import VersionedFiles
from monitor.web.unexpected import Unexpected, on_database_away

ROUTERS = (
    receive.router,
    events_api.router,
    log_api.router,
    decisions_api.router,
    runs_api.router,
    assets_api.router,
    deliveries_api.router,
    incidents_api.router,
    silences_api.router,
    tokens_api.router,
    health.router,
    sign_in.router,
    status.router,
    now_page.router,
    run_pages.router,
    pages.router,
    delivery_preview.router,
    asset_pages.router,
    incident_pages.router,
    silence_pages.router,
    mail_pages.router,
    settings_page.router,
    template_pages.router,
    token_pages.router,
    link_silence.router,
    link_acknowledge.router,
    link_unsubscribe.router,
    docs_page.router,
)


def mount(app: FastAPI, settings: Settings) -> None:
    """Give the app its routes, its error answers and its security."""
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", VersionedFiles(STATIC), name="static")
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)
    app.add_exception_handler(SignInNeeded, sign_in.on_sign_in_needed)
    app.add_exception_handler(LinkError, signed.on_link_error)
    for away in (OperationalError, InterfaceError, InternalError, PoolTimeout):
        app.add_exception_handler(away, on_database_away)
    describe(app, settings)
    # The last is the outermost.
    app.add_middleware(BoundedBodies, metrics=app.state.services.metrics)
    app.add_middleware(Unexpected)
    app.add_middleware(Head)
    app.add_middleware(Security, settings=settings)
    app.add_middleware(Observed, metrics=app.state.services.metrics)
    app.add_middleware(Prefix, prefix=prefix_of(settings.url))
    app.add_middleware(HandOver)
