"""The dependencies of route handlers, which identify the principal of a page's or an API's request."""

import hmac
import re
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from monitor.concurrency import Overloaded
from monitor.errors import AirflowError
from monitor.event_log.filters import AllowedDags
from monitor.web import rule_descriptions
from monitor.web.auth.authenticator import NotSignedIn, Principal, ScopeLacking, TooManyFailures
from monitor.web.auth.rate_limit import address_of
from monitor.web.auth.tokens import PREFIX, Scope
from monitor.web.compression import unmask
from monitor.web.security import SAFE_METHODS
from monitor.web.services import Services, ServicesDep, get_services

COOKIE = "windsock_session"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf"
BEARER = "bearer "
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
UNREACHABLE_RETRY = 10  # seconds, in Retry-After: Airflow may only be restarting


class SignInNeeded(Exception):
    """A page was asked for by someone who is not signed in."""


def bearer_of(request: Request) -> str | None:
    """Return the bearer token of the header (RFC 6750 section 2.1).
    A token in an address is never read.

    Raises NotSignedIn if its form is wrong, because it is handed on in a header, which takes no other form.
    """
    authorization = request.headers.get("authorization", "")
    if not authorization.lower().startswith(BEARER):
        return None
    token = authorization[len(BEARER) :].strip()
    if not TOKEN.fullmatch(token):
        raise NotSignedIn("what follows Bearer is no token (RFC 6750: letters, digits and -._~+/=)")
    return token


async def identify(request: Request, services: ServicesDep) -> Principal:
    """Return the principal, if it may do what the method asks for.
    Raises NotSignedIn, and 403, 429 and 503 as HTTP errors."""
    try:
        principal = await _who(request, services)
        request.state.whose = principal.whose  # whose share of the database's threads the request takes
        principal.require(Scope.READ if request.method in SAFE_METHODS else Scope.ADMIN)
        return principal
    except ScopeLacking as lacking:
        challenge = (
            f'Bearer error="insufficient_scope", scope="{lacking.scope.value}"'  # RFC 6750 section 3.1
        )
        raise HTTPException(403, str(lacking), {"WWW-Authenticate": challenge}) from None
    except TooManyFailures as many:
        raise HTTPException(429, str(many), {"Retry-After": str(many.seconds)}) from None
    except AirflowError as error:
        detail = f"Airflow cannot be asked what you may read: {error}"
        raise HTTPException(503, detail, {"Retry-After": str(UNREACHABLE_RETRY)}) from None


async def _who(request: Request, services: Services) -> Principal:
    authenticator, bearer = services.authenticator, bearer_of(request)
    if authenticator.open and not (bearer and bearer.startswith(PREFIX)):
        return Principal()  # a token that is sent counts even so: what works without sign-in works with it
    if bearer is not None:
        return await authenticator.bearer_reader(bearer, address_of(request.scope))
    return await authenticator.session_reader(request.cookies.get(COOKIE, ""))


async def _api_reader(request: Request, services: ServicesDep) -> Principal:
    try:
        return await identify(request, services)
    except NotSignedIn as reason:
        raise HTTPException(401, f"sign in: {reason}", {"WWW-Authenticate": "Bearer"}) from None


async def _page_reader(request: Request, services: ServicesDep) -> Principal:
    try:
        principal = await identify(request, services)
    except NotSignedIn:
        raise SignInNeeded from None
    await rule_descriptions.load_page_frame(request, services, principal)
    return principal


async def _anyone(request: Request, services: ServicesDep) -> Principal | None:
    try:
        return await identify(request, services)
    except (NotSignedIn, HTTPException, SQLAlchemyError):  # no user is known while the database is away
        return None


async def _any_page_reader(request: Request, services: ServicesDep) -> Principal | None:
    reader = await _anyone(request, services)
    try:
        if reader is not None:
            await rule_descriptions.load_page_frame(request, services, reader)
    except (SQLAlchemyError, Overloaded):
        return None
    return reader


async def find_principal(request: Request) -> Principal | None:
    """Return the reader of an error's page, or None. Raises nothing."""
    try:
        return await _any_page_reader(request, await get_services(request))
    except Overloaded:
        return None


ApiPrincipal = Annotated[Principal, Depends(_api_reader)]
"""Someone who may read, or a 401 problem."""
PagePrincipal = Annotated[Principal, Depends(_page_reader)]
"""Someone who may read, or a redirect to the sign-in page."""
OptionalPrincipal = Annotated[Principal | None, Depends(_anyone)]
"""Someone who may read, or None. The user's share of the database is not waited for."""
OptionalPagePrincipal = Annotated[Principal | None, Depends(_any_page_reader)]
"""Someone who may read, or None."""


async def require_csrf(request: Request, principal: Principal) -> None:
    """Refuse an effect that a foreign page may have asked for (403).

    A bearer token is never sent unasked. A cookie is, so a session has to send its token back too."""
    if principal.csrf is None:
        return
    token = request.headers.get(CSRF_HEADER) or str((await request.form()).get(CSRF_FIELD, ""))
    if not hmac.compare_digest(unmask(token).encode(), principal.csrf.encode()):
        raise HTTPException(403, f"the {CSRF_HEADER} header or the {CSRF_FIELD} field is missing or wrong")


async def refresh_permissions(principal: Principal) -> AllowedDags:
    """Return what the reader may read.
    Airflow is asked anew about a reader of everything. What such a reader makes (a token for everything, a
    silence of a whole Airflow) lasts longer than a remembered right.

    Raises 503 if Airflow cannot be asked, and 401 if the session has ended."""
    if principal.allowed_dags is not None or principal.token is not None:
        return principal.allowed_dags
    try:
        return await principal.rights(anew=True)
    except AirflowError as error:
        detail = f"Airflow cannot be asked now whether you may read every DAG: {error}"
        raise HTTPException(503, detail, {"Retry-After": str(UNREACHABLE_RETRY)}) from None
    except NotSignedIn as reason:
        raise HTTPException(401, f"sign in: {reason}", {"WWW-Authenticate": "Bearer"}) from None
