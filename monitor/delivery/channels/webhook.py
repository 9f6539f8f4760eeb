"""The channel `webhook`, which sends a notification as JSON in a signed POST (Standard Webhooks).

The id in the request is the delivery's, and the same at each attempt. A receiver can therefore recognize a
message that it got twice.

The requests that the monitor receives are checked in web/api/ingest.py.
"""

import asyncio
import json
import re
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

import httpx
from standardwebhooks import Webhook

from monitor.bounded_http import ACCEPT, BoundedClient, UnreadableBody, read_beginning
from monitor.clock import Clock
from monitor.delivery.channels.base import OutgoingMessage
from monitor.delivery.channels.errors import (
    SendError,
    SendReceipt,
    SendRefused,
    TryLater,
    Unavailable,
    clean_reply,
    keep_quiet,
)

SECONDS = 20.0  # until the status: a receiver that says a byte a second keeps within each timeout of httpx
BODY_SECONDS = 2.0  # for the beginning of a body: it is only words for the ledger
ANSWER_BYTES = 500  # of a receiver's answer that are kept. The rest is not read
AT_ONCE = 8
LONGEST_WAIT = timedelta(hours=24)  # that a receiver may ask for
LATER = frozenset({408, 425, 500, 501, 505})
AWAY = frozenset({429, 502, 503, 504})
"""The statuses of the receiver as a whole: whatever else is sent to it would fare no better."""
_NO_ID = re.compile(r"[^A-Za-z0-9_-]+")


class WebhookChannel:
    """The channel `webhook`: a POST that is signed as Standard Webhooks says."""

    at_once = AT_ONCE
    is_one_server = False

    def __init__(self, clock: Clock, seconds: float = SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._client: httpx.AsyncClient | None = None
        keep_quiet()

    async def open(self) -> None:
        """Do nothing: the channel reaches its receivers only when it sends."""

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Post the message and return the receiver's answer. Raises SendError."""
        url = message.resolved.url.get_secret_value()
        secrets = () if message.resolved.secret is None else (message.resolved.secret.get_secret_value(),)
        try:
            response = await asyncio.wait_for(self._post(url, message), self._seconds)
        except (TimeoutError, asyncio.TimeoutError, httpx.TimeoutException):
            raise Unavailable(f"the receiver did not answer within {self._seconds:.0f} s") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError) as error:
            raise SendRefused(
                f"not an address to post to: {clean_reply(str(error), secrets, (url,))}"
            ) from None
        except httpx.HTTPError as error:
            text = clean_reply(str(error), secrets, (url,)) or type(error).__name__
            raise Unavailable(f"no answer of the receiver: {text}") from None
        try:
            answer = _meaning(response, clean_reply(await _words(response), secrets, (url,)), self._clock())
        finally:
            await response.aclose()
        if isinstance(answer, SendError):
            raise answer
        return SendReceipt(answer, (message.recipient,))

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _post(self, url: str, message: OutgoingMessage) -> httpx.Response:
        """Post the message. The answer's body is yet to be read."""
        body = json.dumps(message.payload, ensure_ascii=False, separators=(",", ":"))
        headers = {
            "content-type": "application/json",
            "user-agent": "Windsock",
            **self._signature_headers(message, body),
        }
        if message.traceparent:
            headers["traceparent"] = message.traceparent
        if self._client is None:
            self._client = BoundedClient(timeout=self._seconds, follow_redirects=False, headers=ACCEPT)
        request = self._client.build_request("POST", url, content=body.encode(), headers=headers)
        return await self._client.send(request, stream=True)

    def _signature_headers(self, message: OutgoingMessage, body: str) -> dict[str, str]:
        now = self._clock().astimezone(timezone.utc)
        message_id = webhook_id(message.message_id)
        headers = {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp()))}
        if message.resolved.secret is not None:
            secret = message.resolved.secret.get_secret_value()
            headers["webhook-signature"] = Webhook(secret).sign(message_id, now, body)
        return headers


def webhook_id(message_id: str) -> str:
    """Return the id without a full stop, which divides the parts of what is signed."""
    return _NO_ID.sub("-", message_id.strip("<>"))


def _meaning(response: httpx.Response, reason: str, now: datetime) -> str | SendError:
    code = response.status_code
    text = f"{code} {reason}".strip()
    if response.is_success:
        return text
    if code in LATER or code in AWAY or code >= 500:
        error = Unavailable(text) if code in AWAY else TryLater(text)
        error.not_before = _retry_after(response.headers.get("retry-after"), now)
        return error
    if response.is_redirect:
        return SendRefused(f"{text}: redirects are not followed; give the receiver's own address")
    return SendRefused(text)


def _retry_after(header: str | None, now: datetime) -> timedelta | None:
    """Return the wait that Retry-After asks for, in seconds or as a date (RFC 9110 section 10.2.3)."""
    if not header:
        return None
    try:
        if header.strip().isdecimal():
            wait = timedelta(seconds=min(int(header), LONGEST_WAIT.total_seconds()))
        else:
            moment = parsedate_to_datetime(header)
            wait = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)) - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), LONGEST_WAIT)


async def _words(response: httpx.Response) -> str:
    """Return the beginning of the body, if it can be read. The status is the answer."""
    try:
        read = await asyncio.wait_for(read_beginning(response, ANSWER_BYTES), BODY_SECONDS)
    except (TimeoutError, asyncio.TimeoutError, httpx.HTTPError, UnreadableBody) as error:
        return f"(its words could not be read: {str(error) or type(error).__name__})"
    return read.decode(errors="replace")
