"""How a feed is written: as Server-Sent Events (HTML standard, 9.2) or as NDJSON, a JSON object a line.

Odd on purpose: an SSE heartbeat carries an `id:` and no data. The standard (9.2.6, "dispatch the event")
takes the id even though nothing is dispatched, so a reader whose filter matches nothing for days still
comes back with a recent place, and the log is not looked through again from where its last event was.
"""

import json
import re
from enum import Enum

from monitor.event_log import Cursor

_OTHER_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def one_line(body: str) -> str:
    """Return the same JSON without Unicode's own ends of lines, at which many readers cut it in two."""
    if body.isascii():  # nearly every event; Python knows without looking
        return body
    return _OTHER_LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", body)


class Form(Enum):
    """The forms of the feed, by their media types."""

    SSE = "text/event-stream"
    NDJSON = "application/x-ndjson"

    def event(self, cursor: str, kind: str, body: str) -> bytes:
        """One event. Its body is one line of JSON, so it needs one `data:`."""
        body = one_line(body)
        if self is Form.SSE:
            return f"id: {cursor}\nevent: {kind}\ndata: {body}\n\n".encode()
        return f'{{"id": "{cursor}", "event": {body}}}\n'.encode()

    def heartbeat(self, cursor: Cursor) -> bytes:
        """A sign of life that also tells the reader how far the log has been looked through for it."""
        if self is Form.SSE:
            return f": heartbeat\nid: {cursor}\n\n".encode()
        return f'{{"id": "{cursor}"}}\n'.encode()

    def reset(self, reason: str, cursor: Cursor) -> bytes:
        """Tell the reader that events may have been missed, and where it goes on from."""
        if self is Form.SSE:
            data = json.dumps({"reason": reason, "cursor": str(cursor)})
            return f"id: {cursor}\nevent: reset\ndata: {data}\n\n".encode()
        return (json.dumps({"id": str(cursor), "reset": {"reason": reason}}) + "\n").encode()

    def retry(self, milliseconds: int) -> bytes:
        """How soon to come back after the connection is lost; NDJSON has no word for it."""
        return b"retry: %d\n\n" % milliseconds if self is Form.SSE else b""
