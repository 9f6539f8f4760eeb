"""The pages of deliveries and of the embedded mailbox.

The list shows the mails and other deliveries that rules called for. The embedded mailbox is shown if no SMTP
server is set.

A mail in the mailbox may hold anything. `frame_response` makes its HTML part a document of its own, in a
frame without an origin. That document may run nothing, load nothing and send nothing.

`preview` shows a delivery's message as it would be rendered now, from the log alone. No server is asked and
nothing is sent. The links that act for their holder are left out, because they are the recipient's."""

import json
from dataclasses import dataclass, replace
from email.message import EmailMessage
from functools import partial
from html import escape
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from pydantic import field_validator
from sqlalchemy import Connection
from starlette.exceptions import HTTPException

from monitor.delivery.channels.mailbox import Mailbox, Summary, header, parse_filed_id
from monitor.delivery.context import DeliveryContext, load_contexts
from monitor.delivery.messages.enrich import build_message_context
from monitor.delivery.messages.facts import from_log
from monitor.delivery.messages.mime import Envelope
from monitor.delivery.messages.renderer import RenderedMessage
from monitor.event_log import filters, read
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import assets
from monitor.event_log.projections.assets import AssetName
from monitor.event_log.projections.runs import RunName
from monitor.events.data import AssetUpdatedData, DagRunData
from monitor.events.event import Event, parse_event
from monitor.notifications.decision import UNMATCHED
from monitor.notifications.outbox import decisions, queries
from monitor.notifications.outbox.records import Delivery, NotificationKind, State
from monitor.plain_text import cut
from monitor.rules.targets import ChannelName, Target
from monitor.web.api.deliveries import may_see
from monitor.web.auth.authenticator import Principal
from monitor.web.dependencies import PagePrincipal
from monitor.web.pages.events import lines_of, live
from monitor.web.query_params import MAX_PAGE, DeliveriesQuery, Id, ListFilters, list_filters
from monitor.web.responses import cut_page
from monitor.web.services import Services, ServicesDep
from monitor.web.templating import render

SHOWN = 50  # letters in the list
SHOWN_UNMATCHED = 5  # failures that no rule took: one is enough to see that a rule is lacking
MOMENTS = ("since", "until")
LOCAL_LENGTHS = (len("2026-11-22T10:00"), len("2026-11-22T10:00:00"))  # as a datetime-local field writes it

MAX_SHOWN_TEXT = 200_000  # characters of a letter's text on its page, each up to five bytes there
MAX_SHOWN_HTML = 500_000
"""Characters of a letter's HTML. Mail programs show less: Gmail cuts a message at 102 kB."""

TELLS_OF_UPDATES = frozenset({NotificationKind.SUCCESS, NotificationKind.NOTICE})
"""The kinds of letters that may report assets' updates, and so other DAGs than the delivery's."""

LETTER_POLICY = "; ".join(
    ("sandbox", "default-src 'none'", "style-src 'unsafe-inline'", "img-src data:", "frame-ancestors 'self'")
)

router = APIRouter(include_in_schema=False)


class DeliveriesForm(DeliveriesQuery):
    """The same as a form sends it: fields that were left empty, moments without a zone (they are in UTC)."""

    @field_validator("*", mode="before")
    @classmethod
    def _drop_empty(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("limit", mode="before")
    @classmethod
    def _limit(cls, value: Any) -> Any:
        return value or cls.model_fields["limit"].default

    @field_validator(*MOMENTS, mode="before")
    @classmethod
    def _to_utc(cls, value: Any) -> Any:
        return f"{value}Z" if isinstance(value, str) and len(value) in LOCAL_LENGTHS else value or None


@router.get("/mail")
async def mails(
    request: Request,
    services: ServicesDep,
    principal: PagePrincipal,
    list_query: Annotated[ListFilters[DeliveriesForm], Depends(list_filters(DeliveriesForm))],
) -> HTMLResponse:
    """Show the deliveries, sent or not, by their filters, and the embedded mailbox."""
    query = list_query.query
    allowed_dags = await services.authenticator.get_permissions(principal)

    def load(connection: Connection) -> dict[str, Any]:
        rows = queries.deliveries(connection, query.limit + 1, query.cursor, query.to_filter(), allowed_dags)
        found, following = cut_page(rows, query.limit, lambda delivery: delivery.id)
        return (
            live(connection)
            | {"deliveries": found, "next": following}
            | _load_unmatched(connection, allowed_dags)
        )

    values = await services.database.read(load)
    filters = query.model_dump(mode="json", exclude={"cursor", "limit"}, exclude_defaults=True)
    summaries = [] if filters or query.cursor else await _letters(services, principal)
    choices = {"state": list(State), "channel": list(ChannelName), "kind": list(NotificationKind)}
    values |= {
        "letters": summaries,
        "smtp": services.settings.smtp_host,
        "given": filters,
        "choices": choices,
        "mistakes": list_query.mistakes,
    }
    if list_query.mistakes:
        values |= {"deliveries": [], "next": None, "unmatched": [], "letters": []}
    return render(request, "mail.html", principal, list_query.status, **values)


def _load_unmatched(connection: Connection, allowed_dags: AllowedDags) -> dict[str, Any]:
    """Return the latest failures that no rule took, with what the log still has of them."""
    decided = decisions.latest_of_rule(connection, UNMATCHED, SHOWN_UNMATCHED, allowed_dags)
    events = lines_of(connection, [decision.event_seq for decision in decided], allowed_dags)
    return {"unmatched": decided, "unmatched_events": events}


async def _letters(services: Services, principal: Principal) -> list[Summary]:
    box = services.mailbox
    if box is None:
        return []
    if principal.allowed_dags is None:
        return await services.database.run(partial(box.mails, SHOWN))
    own = await services.database.read(lambda connection: _own(connection, principal.allowed_dags))
    return await services.database.run(partial(_list, box, own))


@dataclass(frozen=True)
class _Own:
    """The letters that hold only what the reader may see."""

    message_ids: frozenset[str]
    filed: frozenset[str]
    """The ids in the mailbox of those whose filing is in the ledger."""

    def has(self, mail: EmailMessage) -> bool:
        return header(mail, "Message-ID") in self.message_ids


def _list(box: Mailbox, own: _Own) -> list[Summary]:
    """Return the reader's latest letters.
    They come from the ledger, however many other letters came since. Letters that the ledger does not have
    yet are added."""
    latest = (mail_id.id for mail_id in box.mails(SHOWN) if mail_id.id not in own.filed)
    mail_ids = [mail_id for mail_id in latest if (mail := box.get(mail_id)) and own.has(mail)]
    return box.summaries(sorted([*own.filed, *mail_ids], reverse=True)[:SHOWN])


def _own(connection: Connection, allowed_dags: AllowedDags) -> _Own:
    """Return the letters that the reader may see.
    A letter belongs to the DAGs of its delivery. A letter that Windsock did not write (a task's own mail,
    filed by the `MailboxServer`) is for readers of every DAG, because its DAG is unknown."""
    found = queries.deliveries(connection, MAX_PAGE, allowed_dags=allowed_dags)
    seen = [delivery for delivery in found if _is_seen(connection, delivery, allowed_dags)]
    answers = queries.answers(connection, [delivery.id for delivery in seen])
    return _Own(
        frozenset(delivery.message_id for delivery in seen),
        frozenset(letter_id for answer in answers if (letter_id := parse_filed_id(answer))),
    )


def _is_seen(connection: Connection, delivery: Delivery, allowed_dags: AllowedDags) -> bool:
    """Return True if the reader may see the letter as it was written.
    It names the runs that updates of assets began, and compares each update with the one before, of whatever
    DAGs those are."""
    if delivery.kind not in TELLS_OF_UPDATES:
        return True
    seqs = decisions.event_seqs(connection, delivery.notification_id, MAX_PAGE)
    logged = read.find_by_seqs(connection, seqs)  # what is forgotten cannot be looked at
    if len(logged) != len(seqs) or logged != read.find_by_seqs(connection, seqs, allowed_dags):
        return False
    events = read.parse_each(logged)
    return len(events) == len(logged) and all(
        _can_read_updates(connection, event, allowed_dags) for _, event in events
    )


def _can_read_updates(connection: Connection, event: Event, allowed_dags: AllowedDags) -> bool:
    """Return True if the reader may see each asset update that a letter of this event may report."""
    if isinstance(event.data, DagRunData):
        name = RunName(event.deployment, event.data.dag_id, event.data.run_id)
        return from_log(connection, name) == from_log(connection, name, allowed_dags)
    if isinstance(event.data, AssetUpdatedData):
        asset = AssetName(event.deployment, event.data.asset.uri)
        of_it = event.data.asset_event_id, event.data.timestamp
        return assets.can_read_comparison(connection, asset, *of_it, allowed_dags)
    return True


async def _letter(services: Services, principal: Principal, letter_id: str) -> EmailMessage:
    if services.mailbox is not None:
        mail = await services.database.run(partial(services.mailbox.get, letter_id))
        allowed_dags = principal.allowed_dags
        own = None if allowed_dags is None else await services.database.read(lambda c: _own(c, allowed_dags))
        if mail is not None and (own is None or own.has(mail)):
            return mail
    raise HTTPException(404, f"No letter {letter_id!r} is in the mailbox.")


def _part(mail: EmailMessage, kind: str) -> str | None:
    """Return the text of a part, however badly it was encoded."""
    body = mail.get_body((kind,))
    if body is None:
        return None
    try:
        content = body.get_content()
    except (LookupError, ValueError):  # a charset that does not exist, or text that is not of it
        content = body.get_payload(decode=True)
    return content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)


@router.get("/mail/{letter_id}")
async def letter(
    request: Request, services: ServicesDep, principal: PagePrincipal, letter_id: str
) -> HTMLResponse:
    """Show one letter: its headers, its text, and its HTML in a frame."""
    found = await _letter(services, principal, letter_id)
    fields = {name: header(found, name) for name in ("Subject", "From", "To", "Date", "Message-ID")}
    text, html = _part(found, "plain"), _part(found, "html")
    shown: dict[str, Any] = {
        "fields": fields,
        "text": text and cut(text, MAX_SHOWN_TEXT),
        "has_html": html is not None,
        "id": letter_id,
    }
    return render(request, "letter.html", principal, **shown)


@router.get("/mail/{letter_id}/html")
async def letter_html(services: ServicesDep, principal: PagePrincipal, letter_id: str) -> HTMLResponse:
    """Answer with a letter's HTML part alone, for the frame."""
    html = _part(await _letter(services, principal, letter_id), "html")
    if html is None:
        raise HTTPException(404, "This letter has no HTML part.")
    return frame_response(html)


def frame_response(html: str) -> HTMLResponse:
    """Return a document for a frame, which may run nothing, load nothing and send nothing."""
    headers = {
        "Content-Security-Policy": LETTER_POLICY,
        "X-Frame-Options": "SAMEORIGIN",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(cut(html, MAX_SHOWN_HTML), headers=headers)


preview_router = APIRouter(include_in_schema=False)


@preview_router.get("/deliveries/{delivery_id}/html")
async def preview(services: ServicesDep, principal: PagePrincipal, delivery_id: Id) -> HTMLResponse:
    """Answer with a delivery's preview for the frame: a mail's HTML, or the text of other channels."""
    allowed_dags = principal.allowed_dags
    context = await services.database.read(
        lambda connection: _case(connection, services, delivery_id, allowed_dags)
    )
    if context is None:
        raise HTTPException(404, f"No delivery {delivery_id} is known here whose events the log still has.")
    try:
        rendered = await _render_preview(services, context, allowed_dags)
    except ValueError as error:
        raise HTTPException(409, f"The delivery {delivery_id} cannot be addressed: {error}.") from None
    is_mail = context.delivery.channel is ChannelName.EMAIL
    return frame_response(rendered.html if is_mail else f"<pre>{escape(rendered.text)}</pre>")


def _case(
    connection: Connection, services: Services, delivery_id: int, allowed_dags: AllowedDags
) -> DeliveryContext | None:
    """Return the context of a delivery, or None.
    None also means that it reports a DAG that the reader may not see, because a group may hold several DAGs.
    """
    delivery = queries.find(connection, delivery_id, allowed_dags)
    if delivery is None:
        return None
    context = load_contexts(connection, [delivery], services.rules.current, services.clock()).get(delivery.id)
    if context is None or not context.events:
        return None
    seen = all(may_see(allowed_dags, event.deployment, event.dag_id) for event in context.events)
    return (
        replace(context, events=tuple(_redact(event, allowed_dags) for event in context.events))
        if seen
        else None
    )


def _redact(event: Event, allowed_dags: AllowedDags) -> Event:
    """Return the event without an update's runs of DAGs that the reader may not see."""
    body = filters.redact_body(event.type, event.body, allowed_dags)
    return event if body is event.body else parse_event(json.loads(body))


async def _render_preview(
    services: Services, context: DeliveryContext, allowed_dags: AllowedDags
) -> RenderedMessage:
    """Render the message without sending it. Raises ValueError."""
    delivery = context.delivery
    envelope = Envelope(
        message_id=delivery.message_id,
        recipient=delivery.recipient,
        rule=delivery.rule,
        timezone=services.rules.current.timezone_of(Target(delivery.channel, delivery.recipient)),
        references=context.thread.references,
        subject=context.thread.subject,
    )
    message_context = await build_message_context(services.database, None, context, allowed_dags=allowed_dags)
    return await services.database.run(
        partial(services.renderer.render, delivery.template, message_context, envelope)
    )
