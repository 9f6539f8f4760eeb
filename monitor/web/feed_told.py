"""What OpenAPI is told of the feed, whose answer has no end and so no model."""

import json
from typing import Any

from monitor.web import examples
from monitor.web.answers import PROBLEMS, Answers, problems

_CURSOR = "1a2b3c4d-7"
_BODY = json.dumps(examples.EVENT, separators=(",", ":"))
_EVENT = f"id: {_CURSOR}\nevent: airflow.dag_run.failed\ndata: {_BODY}\n\n"
_HEARTBEAT = f": heartbeat\nid: {_CURSOR}\n\n"
_SSE = f"retry: 2000\n\n{_EVENT}{_HEARTBEAT}"
_LINE: dict[str, Any] = {
    "type": "object",
    "description": "One line: an event, a heartbeat (`id` alone), or a reset (docs/feed.md)",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "description": "The cursor: go on from here"},
        "event": {"$ref": "#/components/schemas/CloudEvent"},
        "reset": {
            "type": "object",
            "description": "The cursor that was asked for is gone; the feed goes on from `id`",
            "required": ["reason"],
            "properties": {"reason": {"type": "string"}},
        },
    },
}

FEED: Answers = {
    **PROBLEMS,
    **problems(400),
    200: {
        "description": "The feed, without an end",
        "content": {
            "text/event-stream": {"schema": {"type": "string"}, "example": _SSE},
            "application/x-ndjson": {
                "schema": _LINE,
                "example": json.dumps({"id": _CURSOR, "event": examples.EVENT}, separators=(",", ":")) + "\n",
            },
        },
    },
}
