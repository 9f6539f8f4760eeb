"""The connection to the feed: one request, and the bytes of its answer as they arrive.

Neither proxy variables of the environment nor redirects are followed. A bearer token goes to the named host
and to no other.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from windsock_client.errors import Away, FeedError, FeedRefused
from windsock_client.formats import JSON, NDJSON, SERVER_SENT_EVENTS
from windsock_client.pace import retry_after

CONNECT_SECONDS = 10.0
CHUNK = 64 * 1024  # bytes taken at once: all that is held besides the message under way
MAX_REASON = 64 * 1024  # bytes of a refusal that are read for its reason
LATER = {408, 425, 429}  # 4xx that ask for another attempt, as all 5xx do


@dataclass(frozen=True)
class Address:
    """The address of a monitor. `path` is a proxy's prefix, without a slash at its end."""

    url: str
    tls: bool
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse an address. Raises ValueError that names what is wrong."""
        parts = urlsplit(url)
        remedy = f"url: {url!r} is not an address such as https://windsock.example.com"
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(remedy)
        if parts.username is not None:
            raise ValueError(
                "url: names a user; give a token instead"
            )  # not repeated: it may hold a password
        if parts.query or parts.fragment:
            raise ValueError(f"{remedy}; filters are parameters of their own")
        return cls(url, parts.scheme == "https", parts.hostname, parts.port, parts.path.rstrip("/"))


class Connection:
    """A connection to the monitor, open once the object exists.
    Raises Away, or FeedError if the monitor's certificate is not trusted."""

    def __init__(self, address: Address, context: ssl.SSLContext | None, silence: float) -> None:
        self._address = address
        self._http = _connection(address, context)
        self._answer: http.client.HTTPResponse | None = None
        try:
            self._http.connect()
        except ssl.SSLCertVerificationError as error:
            self._http.close()
            raise FeedError(f"{address.url}: {error.verify_message}; ca_file names who is trusted") from error
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise _away(error) from error
        self._socket: socket.socket = self._http.sock  # http.client lets go of it once the answer has begun
        self._socket.settimeout(silence)
        self._silence = silence

    def ask(
        self,
        target: str,
        headers: Mapping[str, str],
        media_types: Collection[str] = (SERVER_SENT_EVENTS, NDJSON),
    ) -> str:
        """Send a GET request and return the answer's media type. Raises Away and FeedRefused."""
        # The socket's timeout is for each read: a server that says `100 Continue` for ever keeps within it.
        deadline = threading.Timer(self._silence, self.shut)
        deadline.daemon = True
        deadline.start()
        try:
            self._http.request("GET", f"{self._address.path}{target}", headers=dict(headers))
            self._answer = self._http.getresponse()
            return self._check_answer(self._answer, media_types)
        except (OSError, http.client.HTTPException) as error:
            raise _away(error) from error
        finally:
            deadline.cancel()

    def _check_answer(self, answer: http.client.HTTPResponse, media_types: Collection[str]) -> str:
        if answer.status >= 500 or answer.status in LATER:
            raise Away(_reason(answer), retry_after(answer.getheader("Retry-After")))
        media_type = answer.headers.get_content_type()
        if answer.status == 200 and media_type in media_types:
            return media_type
        if answer.status == 200:
            if not answer.read(1):  # http.client takes a head that breaks off for a whole one
                raise Away("the answer has no body: it may have broken off")
            kind = "JSON" if JSON in media_types else "feed"
            reason = f"answers with {media_type}, which is no {kind}: is this the monitor's address?"
        elif to := answer.getheader("Location"):
            reason = f"redirects to {to}; give that address, without /events"
        else:
            reason = _reason(answer)
        raise FeedRefused(f"{self._address.url}: {reason}", answer.status)

    def chunks(self) -> Iterator[bytes]:
        """Yield the answer's bytes until it ends.
        Raises Away if the answer breaks off or is silent for too long."""
        assert self._answer is not None, "ask() comes first"  # noqa: S101
        try:
            while chunk := self._answer.read1(CHUNK):
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise _away(error) from error

    def shut(self) -> None:
        """Wake the thread that reads, which then finds the end. Any thread may call this."""
        with suppress(OSError):  # it is closed already
            # The plain socket's own: an SSLSocket's would forget its keys under the hands of who reads.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection. Only the thread that reads may call this."""
        if self._answer:
            self._answer.close()
        self._http.close()
        self._socket.close()


def _connection(address: Address, context: ssl.SSLContext | None) -> http.client.HTTPConnection:
    if address.tls:
        return http.client.HTTPSConnection(
            address.host, address.port, timeout=CONNECT_SECONDS, context=context
        )
    return http.client.HTTPConnection(address.host, address.port, timeout=CONNECT_SECONDS)


def _away(error: Exception) -> Away:
    return Away(f"{type(error).__name__}: {error}")


def _reason(answer: http.client.HTTPResponse) -> str:
    """Return the status and the monitor's own text (RFC 9457), or HTTP's reason if the answer has none."""
    try:
        detail = json.loads(answer.read(MAX_REASON))["detail"]
    except (ValueError, KeyError, TypeError, RecursionError, OSError, http.client.HTTPException):
        detail = answer.reason
    return f"{answer.status} {detail}"
