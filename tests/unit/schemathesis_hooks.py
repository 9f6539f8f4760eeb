"""What Schemathesis needs to get beyond the door: its batches are signed, as the plugin's are. And what each
operation answered, for the test to see that it got beyond.
"""

import os
from pathlib import Path
from typing import Any

import requests
import schemathesis
from schemathesis.core.parameters import ParameterLocation

from tests.unit.conftest import sign


class Signature(requests.auth.AuthBase):
    """Signs the bytes that are sent, whatever they are."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        text = body.decode(errors="surrogateescape") if isinstance(body, bytes) else str(body)
        headers = sign(os.environ["WINDSOCK_TEST_SECRET"], text)
        headers.pop("Content-Type")
        request.headers.update(headers)
        return request


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]
) -> None:
    if case.operation.definition.raw.get("operationId") != "sendEvents":
        return
    if case.meta is not None and case.meta.is_negative_at(ParameterLocation.HEADER):
        return  # it is the headers that are to be wrong
    kwargs["auth"] = Signature()


@schemathesis.hook
def after_call(
    context: schemathesis.HookContext, case: schemathesis.Case[Any], response: schemathesis.Response
) -> None:
    name = case.operation.definition.raw["operationId"]
    with Path(os.environ["WINDSOCK_TEST_ANSWERS"]).open("a") as answers:
        answers.write(f"{name} {response.status_code}\n")
