"""`/links/unsubscribe/{token}`: get no mail of a rule any more.

Mail providers post `List-Unsubscribe=One-Click` themselves when somebody presses their button: without
cookies, and they take no redirect for an answer (RFC 8058 section 3.1).
"""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor import unsubscribed
from monitor.links import UNSUBSCRIBE
from monitor.web import signed
from monitor.web.rendering import render
from monitor.web.services import Here

PATH = "/links/unsubscribe/{token}"
ONE_CLICK = ("List-Unsubscribe", "One-Click")

router = APIRouter(include_in_schema=False)


@router.get(PATH)
async def ask(request: Request, here: Here, token: str) -> HTMLResponse:
    """Whose mails of which rule, and whether they are stopped already."""
    content = signed.read(here, UNSUBSCRIBE, token)
    address, rule = content["address"], content["rule"]
    gone = await here.database.read(
        lambda connection: unsubscribed.is_unsubscribed(connection, address, rule)
    )
    return render(request, "link_unsubscribe.html", None, address=masked(address), rule=rule, gone=gone)


@router.post(PATH)
async def act(request: Request, here: Here, token: str) -> Response:
    """Stop them, or take it back."""
    content = signed.read(here, UNSUBSCRIBE, token)
    address, rule, now = content["address"], content["rule"], here.clock()
    form = await request.form()
    one_click = form.get(ONE_CLICK[0]) == ONE_CLICK[1]
    action = "stop" if one_click else form.get("action")
    if action not in ("stop", "resume"):
        raise HTTPException(422, f"send {'='.join(ONE_CLICK)} (RFC 8058), or open the link in a browser")

    def write(connection: Connection) -> None:
        if action == "stop":
            unsubscribed.add(connection, address, rule, now)
        else:
            unsubscribed.remove(connection, address, rule)

    await here.database.write(write)
    if one_click:
        return PlainTextResponse("Unsubscribed.\n")
    return RedirectResponse(request.url.path, 303)


def masked(address: str) -> str:
    """`j…@example.com`: enough for its owner, and no address for whoever else the mail was forwarded to."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}" if local else "…"
