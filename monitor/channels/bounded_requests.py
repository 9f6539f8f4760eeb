"""Bounded answers for Apprise's plugins, which read each whole: 2 kB can unpack to gigabytes.

The plugins call `requests` by themselves and take no session of ours, so the adapter that `requests` makes
its sessions with is replaced, once, for the process.
"""

import requests
import urllib3
from requests.adapters import HTTPAdapter

MAX_ANSWER = 1024 * 1024  # bytes, unpacked: plugins look for an id or a reason in it
PIECE = 64 * 1024  # bytes unpacked at a time


class BoundedAdapter(HTTPAdapter):
    """Reads the first MAX_ANSWER bytes of a body. The status says whether a message was taken."""

    def build_response(
        self, req: requests.PreparedRequest, resp: urllib3.BaseHTTPResponse
    ) -> requests.Response:
        response = super().build_response(req, resp)
        response._content = _beginning(resp)
        response._content_consumed = True
        return response


def _beginning(raw: urllib3.BaseHTTPResponse) -> bytes:
    body = bytearray()
    try:
        for piece in raw.stream(PIECE, decode_content=True):
            body += piece
            if len(body) >= MAX_ANSWER:
                break
    except (urllib3.exceptions.HTTPError, OSError):
        pass  # the status has come, and is the answer; what the plugin misses it says
    raw.close()
    return bytes(body[:MAX_ANSWER])


def bound_requests() -> None:
    """From now on each session of `requests` reads bounded answers."""
    setattr(requests.sessions, "HTTPAdapter", BoundedAdapter)  # noqa: B010 (it is not exported by name)
