"""What the shapes of all answers have in common, and the answers that are errors."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict


class Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True)


def example(**values: Any) -> ConfigDict:
    """The configuration of an answer that OpenAPI shows an example of."""
    extra: JsonDict = {"examples": [values]}
    return ConfigDict(from_attributes=True, json_schema_extra=extra)


class Problem(Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": text,
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }
    for status, text in {
        401: "Nobody is signed in, and no valid bearer token was sent",
        422: "A parameter is wrong; the detail names it",
        503: "Airflow cannot be asked what the reader may see",
    }.items()
}
"""What every endpoint that wants a reader can answer, for OpenAPI."""
