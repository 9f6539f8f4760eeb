"""The OpenAPI schemas of `POST /api/v1/events`.

FastAPI cannot derive the request's schema: the signature is over the body's bytes, so the endpoint reads
the body by itself.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import JsonSchemaValue, models_json_schema

from monitor.events.data import DATA, MAX_ID, MAX_NAME, NUDGE, OWN
from monitor.events.event import DEPLOYMENT
from monitor.web import openapi_examples
from monitor.web.responses import SERVER, Answers, ResponseModel, example, problems

MAX_BATCH = 500  # events: keeps one write transaction short
BATCH = "application/cloudevents-batch+json"
SINGLE = "application/cloudevents+json"
REF = "#/components/schemas/{model}"


class Result(ResponseModel):
    """The result of one event."""

    id: str | None = Field(description="The event's own; null where it had none")
    status: Literal["accepted", "duplicate", "rejected"]
    reason: str | None = Field(None, description="Why it was rejected; absent where it was not")


class IngestResponse(ResponseModel):
    """The result of a batch. Accepted and duplicate events are done with. A rejected event is never taken."""

    model_config = example(
        accepted=1,
        duplicate=0,
        rejected=0,
        results=[{"id": openapi_examples.EVENT["id"], "status": "accepted"}],
    )
    accepted: int
    duplicate: int
    rejected: int
    results: list[Result] = Field(description="In the order of the batch")


def schemas() -> dict[str, JsonSchemaValue]:
    """Return the schemas of the event and of the data of each type that a sender may report."""
    shapes: list[type[BaseModel]] = list(dict.fromkeys(shape for _, shape in _sendable()))
    _, found = models_json_schema([(shape, "validation") for shape in shapes], ref_template=REF)
    return {**found["$defs"], "CloudEvent": _event(shapes)}


def _sendable() -> list[tuple[str, type[BaseModel]]]:
    return [(kind, shape) for kind, shape in DATA.items() if not kind.startswith(OWN) or kind == NUDGE]


def _event(shapes: list[type[BaseModel]]) -> JsonSchemaValue:
    """Return the schema of an event, as docs/events.md describes it."""
    text: dict[str, Any] = {"type": "string", "minLength": 1}
    return {
        "type": "object",
        "description": "CloudEvents 1.0, structured JSON (docs/events.md). Fields are only ever added",
        "required": ["specversion", "id", "source", "type", "subject", "time", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {**text, "maxLength": MAX_ID, "description": "The natural key of the state change"},
            "source": {"type": "string", "pattern": f"^/airflow/{DEPLOYMENT}$"},
            "type": {
                "type": "string",
                "description": "A batch holds Airflow's; the feed and the log the monitor's too",
                "examples": [kind for kind, _ in _sendable()],
            },
            "subject": {**text, "maxLength": MAX_NAME},
            "time": {"type": "string", "format": "date-time", "description": "When the state changed, UTC"},
            "traceparent": {
                "type": "string",
                "description": "Its trace (W3C Trace Context, level 1). One that is none is ignored",
            },
            "datacontenttype": {"const": "application/json"},
            "data": {
                "description": "By the type",
                "anyOf": [
                    *({"$ref": REF.format(model=shape.__name__)} for shape in shapes),
                    {"type": "object"},
                ],
            },
        },
        "examples": [openapi_examples.EVENT],
    }


_HEADERS = {
    "webhook-id": ("Unique to this request", "msg_2f6c1e0b9d7a4c35"),
    "webhook-timestamp": ("When it was signed, in Unix seconds; 5 minutes' tolerance", "1795341610"),
    "webhook-signature": (
        "`v1,` and base64 of the HMAC-SHA256 over `id.timestamp.body`; several are separated by spaces",
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    ),
}
_EVENT_REF = {"$ref": REF.format(model="CloudEvent")}
REQUEST: dict[str, Any] = {
    "security": [],  # its signature is its right
    "parameters": [
        {
            "name": name,
            "in": "header",
            "required": True,
            "description": text,
            "schema": {"type": "string"},
            "example": shown,
        }
        for name, (text, shown) in _HEADERS.items()
    ],
    "requestBody": {
        "required": True,
        "description": f"At most {MAX_BATCH} events and 4 MiB",
        "content": {
            BATCH: {
                "schema": {"type": "array", "items": _EVENT_REF, "maxItems": MAX_BATCH},
                "example": [openapi_examples.EVENT],
            },
            SINGLE: {"schema": _EVENT_REF, "example": openapi_examples.EVENT},
        },
    },
}
ANSWERS: Answers = {
    **problems(400, 401, 403, 413, 415, 421, 429, 503, *SERVER),
    202: {"description": "All that was accepted is durable"},
}
