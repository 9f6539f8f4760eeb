"""The forms that several pages share, among them those behind the links in mails (`/links/…`).

A link needs no sign-in: its signed token is the right to do the one thing that it names. No cookie is read,
so a foreign page has nothing to abuse. A GET shows what a POST would do, and never does it.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import Request
from fastapi.responses import HTMLResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from monitor.delivery.messages.links import LinkError
from monitor.notifications.silences import SilenceScope
from monitor.plain_text import no_nul
from monitor.rules.model import Match
from monitor.web.query_params import MAX_NAME, MAX_SEQ
from monitor.web.services import Services
from monitor.web.silence_validation import MAX_AUTHOR, MAX_REASON
from monitor.web.templating import render

TOMORROW, OWN = "tomorrow", "own"
MORNING = time(8)  # when people are at work again
SPANS = {"1h": ("1 hour", timedelta(hours=1)), "8h": ("8 hours", timedelta(hours=8))}
LONG_SPANS = {"1w": ("1 week", timedelta(weeks=1))}


@dataclass(frozen=True)
class EndOption:
    """An end that a form offers."""

    value: str
    words: str
    ends_at: datetime


def choices(now: datetime, zone: str) -> list[EndOption]:
    """Return the ends that a form offers, in UTC."""
    morning = tomorrow_morning(now, zone)
    there = morning.astimezone(ZoneInfo(zone))
    tomorrow = EndOption(TOMORROW, f"until tomorrow, {there:%A} {there:%H:%M} ({zone})", morning)
    return [
        *(EndOption(name, label, now + span) for name, (label, span) in SPANS.items()),
        tomorrow,
        *(EndOption(name, label, now + span) for name, (label, span) in LONG_SPANS.items()),
    ]


def tomorrow_morning(now: datetime, zone: str) -> datetime:
    """Return tomorrow's MORNING in the zone, in UTC."""
    day = now.astimezone(ZoneInfo(zone)).date() + timedelta(days=1)
    return datetime.combine(day, MORNING, ZoneInfo(zone)).astimezone(timezone.utc)


def end_of(choice: str, own: str, now: datetime, zone: str) -> datetime:
    """Return the chosen moment in UTC. Raises ValueError, whose message is for people."""
    if choice == OWN:
        return _own(own, zone)
    for offered in choices(now, zone):
        if offered.value == choice:
            return offered.ends_at
    raise ValueError(f"until: {choice[:20]!r} is none of the choices; choose one of them")


def _own(text: str, zone: str) -> datetime:
    """Return the moment of a field of type datetime-local, which is by the clock on the wall."""
    if not text:
        raise ValueError("another end: is empty; give a day and a time, or choose another end")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"another end: {text[:30]!r} is no moment such as 2026-11-23T08:00") from None
    there = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
    try:
        return there.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"another end: {text[:30]!r} is beyond every calendar") from None


BY_LINK = "link in a mail"
"""The author without a given name. The token does not say whose mail it was in."""

Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_REASON), AfterValidator(no_nul)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_AUTHOR), AfterValidator(no_nul)]


class Deed(BaseModel):
    """The form behind a link: the action, the person and the reason."""

    action: str = ""
    name: Name = ""
    reason: Text = ""
    until: str = ""
    """The chosen end, by its name. Empty if the incident's own end is meant."""

    @property
    def who(self) -> str:
        """The person who acts, as the ledger shows them."""
        return f"{self.name} ({BY_LINK})" if self.name else BY_LINK

    @property
    def why(self) -> str:
        """The reason, as the ledger shows it."""
        return self.reason or "no reason given"


def read_link(services: Services, purpose: str, token: str) -> dict[str, Any]:
    """Verify the signed token of a link, and return what the link is for. Raises LinkError."""
    return services.links.read(purpose, token)


async def on_link_error(request: Request, error: Exception) -> HTMLResponse:
    """Show a page that says what to do instead."""
    if not isinstance(error, LinkError):
        raise error
    status = 410 if error.why == "expired" else 404
    return render(request, "link_refused.html", None, status, why=error.why, message=str(error))


FIELDS = ("deployment", "dag_id", "task_id", "type", "tags", "owners", "run_type", "asset")
"""The fields of a match, in the order of the form."""

Names = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_NAME), AfterValidator(no_nul)]
"""Several, with commas between them."""


class SilenceForm(BaseModel):
    """The form of a new silence."""

    model_config = ConfigDict(extra="ignore")  # the CSRF token comes with it
    deployment: Names = ""
    dag_id: Names = ""
    task_id: Names = ""
    type: Names = ""
    tags: Names = ""
    owners: Names = ""
    run_type: Names = ""
    asset: Names = ""
    until: str = ""
    own_end: str = ""
    reason: Text = ""
    incident: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    """The incident whose subject is silenced, instead of the fields above."""
    whole_airflow: bool = False
    action: Literal["", "preview", "confirm"] = ""

    @property
    def is_question(self) -> bool:
        """True if only the preview is asked for."""
        return self.action == "preview"

    @property
    def is_filled(self) -> bool:
        """True if the form names anything."""
        return self.incident is not None or self.whole_airflow or any(getattr(self, name) for name in FIELDS)

    @property
    def is_confirmed(self) -> bool:
        """True if the user has seen what silencing a whole Airflow means, and said yes."""
        return self.action == "confirm"

    def to_query(self) -> dict[str, Any]:
        """Return what was filled in, for the address of the same form."""
        return self.model_dump(mode="json", exclude={"action"}, exclude_defaults=True)

    def match(self) -> Match:
        """Return the match of the form. Raises ValueError, whose message is for people."""
        globs = {name: _names(getattr(self, name)) for name in FIELDS if getattr(self, name)}
        try:
            return Match.model_validate(globs)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def spelt_out(self, scope: SilenceScope) -> "SilenceForm":
        """Return the form with the incident's scope filled in, if the fields can say it.
        Then the user may narrow the fields."""
        if self.incident is None or scope.incident is not None:
            return self
        filled = {name: ", ".join(getattr(scope.match, name)) for name in ("deployment", "dag_id")}
        return self.model_copy(update={**filled, "incident": None})

    def why(self) -> str:
        """Return the reason. Raises ValueError if it is empty."""
        if not self.reason:
            raise ValueError("reason: is empty; others want to know why nobody is notified")
        return self.reason


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]
