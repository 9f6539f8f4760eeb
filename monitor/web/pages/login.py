"""The sign-in and sign-out pages. Airflow checks the user's Airflow name and password."""

import hmac
import secrets
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form, Request, Response
from pydantic import StringConstraints

from monitor.errors import AirflowError, AirflowRefused
from monitor.web.auth.authenticator import TooManyFailures
from monitor.web.auth.rate_limit import address_of
from monitor.web.auth.sessions import SESSION_SECONDS
from monitor.web.dependencies import COOKIE, PagePrincipal, SignInNeeded, require_csrf
from monitor.web.paths import path_of, path_prefix, redirect
from monitor.web.services import Services, ServicesDep
from monitor.web.templating import render

FORM_COOKIE = "windsock_form"
FORM_SECONDS = 3600  # how long a sign-in page may stay open before it has to be loaded anew
MAX_FIELD = 1_000  # characters of a name or password
MAX_TARGET = (
    8_000  # characters of an address to go to: the names of a DAG and a run, 250 signs each, in UTF-8 as %XX
)

Field = Annotated[str, Form(), StringConstraints(max_length=MAX_FIELD)]

router = APIRouter(include_in_schema=False)


def own_path(target: str) -> str:
    """Return where to go after sign-in: a path of this site, or the dashboard, but never another site."""
    is_path = target.startswith("/") and target[1:2] not in ("/", "\\")  # browsers take \\ for /
    is_printable = all(sign > " " for sign in target)  # browsers drop tabs and line ends inside an address
    return target if is_path and is_printable and len(target) <= MAX_TARGET else "/"


async def on_sign_in_needed(request: Request, error: Exception) -> Response:
    """Redirect to the sign-in page, which leads back afterwards."""
    if not isinstance(error, SignInNeeded):
        raise error
    query = f"?{request.url.query}" if request.url.query else ""
    target = (
        quote(path_of(request)) + query
    )  # a path is decoded where it arrives: a run's id may hold ?, # and %
    return redirect(request, f"/login?next={quote(target)}")


@router.get("/login")
async def login_form(request: Request, services: ServicesDep, next: str = "/") -> Response:  # noqa: A002 (the usual name)
    """Show the sign-in page."""
    if services.authenticator.open:
        return redirect(request, "/")
    return _form(request, services, own_path(next), 200, "")


@router.post("/login")
async def login(
    request: Request,
    services: ServicesDep,
    username: Field,
    password: Field,
    csrf: Field,
    next: Annotated[str, Form()] = "/",  # noqa: A002
) -> Response:
    """Sign the user in and go on to the page that was asked for."""
    target = own_path(next)
    if not hmac.compare_digest(request.cookies.get(FORM_COOKIE, "-").encode(), csrf.encode()):
        return _form(request, services, target, 403, "This page was open for too long. Please try again.")
    try:
        cookie = await services.authenticator.sign_in(username, password, address_of(request.scope))
    except AirflowRefused:
        return _form(request, services, target, 401, "Airflow does not accept this name and password.")
    except AirflowError:
        return _form(
            request,
            services,
            target,
            503,
            "Airflow cannot be reached, so nobody can sign in. Try again soon.",
        )
    except TooManyFailures as many:
        return _form(
            request, services, target, 429, f"Too many failed attempts. Try again in {many.seconds} s."
        )
    await services.authenticator.sign_out(
        request.cookies.get(COOKIE)
    )  # whose it was: that session is not left behind
    answer = redirect(request, target)
    _set_cookie(services, answer, COOKIE, cookie, SESSION_SECONDS, path_prefix(request) + "/")
    answer.delete_cookie(FORM_COOKIE, path=path_prefix(request) + "/login")
    return answer


@router.post("/logout")
async def logout(request: Request, services: ServicesDep, principal: PagePrincipal) -> Response:
    """Sign the user out."""
    await require_csrf(request, principal)
    await services.authenticator.sign_out(request.cookies.get(COOKIE))
    services.feed_server.rights_changed()
    answer = redirect(request, "/login")
    answer.delete_cookie(COOKIE, path=path_prefix(request) + "/")
    return answer


def _form(request: Request, services: Services, target: str, status: int, message: str) -> Response:
    """Return the sign-in page. Its form has to send back what its cookie holds, which no other site knows."""
    token = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe()  # kept, for a second tab
    page = render(request, "login.html", None, status, next=target, message=message, csrf=token)
    _set_cookie(services, page, FORM_COOKIE, token, FORM_SECONDS, path_prefix(request) + "/login")
    return page


def _set_cookie(services: Services, answer: Response, name: str, value: str, seconds: int, path: str) -> None:
    answer.set_cookie(
        name,
        value,
        seconds,
        path=path,
        secure=services.authenticator.secure_cookie,
        httponly=True,
        samesite="lax",
    )
