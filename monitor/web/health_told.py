"""What OpenAPI is told of /health and its like."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from monitor.web.answers import Answer, Answers, example

FRESH = {"Cache-Control": "no-store"}
"""No ETag: a probe takes a 304 for trouble, and what it asks for is how things are at this moment."""
OPEN: dict[str, Any] = {"security": []}
METRICS: dict[str, Any] = {
    "description": "Every number",
    "content": {
        "text/plain": {"schema": {"type": "string"}, "example": "windsock_deliveries_waiting 0.0\n"},
    },
}


class Alive(Answer):
    model_config = example(status="ok")
    status: Literal["ok", "down"]


class Ready(Alive):
    model_config = example(status="ok", written_seconds_ago=3.2)
    written_seconds_ago: float | None = Field(
        description="Age of the latest write that got through; null if none has yet"
    )


class Part(Answer):
    """How one part is."""

    status: Literal["ok", "down", "unknown"]
    detail: str
    at: datetime | None = Field(description="When it was last known to be well")
    remedy: str | None = Field(description="What to do, where something is to be done")


class Health(Alive):
    model_config = example(
        status="ok", parts={"database": {"status": "ok", "detail": "sqlite", "at": None, "remedy": None}}
    )
    parts: dict[str, Part] | None = Field(None, description="Each part; absent for who is not signed in")


NOT_READY: Answers = {503: {"description": "The database cannot be read or written", "model": Ready}}
DOWN: Answers = {503: {"description": "Some part does not work", "model": Health}}
