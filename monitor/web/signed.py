"""What the pages behind links in mails have in common (`/links/…`).

Nobody has to sign in: the signed token is the right, for the one thing that it names. No cookie is read, so
there is nothing for a foreign page to abuse. A GET shows what a POST would do, and never does it.
"""

from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from pydantic import AfterValidator, BaseModel, StringConstraints

from monitor.links import LinkError
from monitor.web.querying import no_nul
from monitor.web.rendering import render
from monitor.web.services import Services
from monitor.web.silencing import MAX_AUTHOR, MAX_REASON

BY_LINK = "link in a mail"
"""Who did it, where nobody gave a name: the token does not say whose mail it was in."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_REASON), AfterValidator(no_nul)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_AUTHOR), AfterValidator(no_nul)]


class Deed(BaseModel):
    """What a form behind a link sends: what is to be done, by whom, and why."""

    action: str = ""
    name: Name = ""
    reason: Text = ""

    @property
    def who(self) -> str:
        return f"{self.name} ({BY_LINK})" if self.name else BY_LINK

    @property
    def why(self) -> str:
        return self.reason or "no reason given"


def read(here: Services, purpose: str, token: str) -> dict[str, Any]:
    """What the token was written with. Raises LinkError."""
    return here.links.read(purpose, token)


async def on_link_error(request: Request, error: Exception) -> HTMLResponse:
    """A page that says what to do instead."""
    if not isinstance(error, LinkError):
        raise error
    status = 410 if error.why == "expired" else 404
    return render(request, "link_refused.html", None, status, why=error.why, message=str(error))
