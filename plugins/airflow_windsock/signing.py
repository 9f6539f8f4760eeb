"""The signature of requests, by the Standard Webhooks specification (1.0.0)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Iterable


def signature_headers(body: bytes, secrets: Iterable[bytes]) -> dict[str, str]:
    """Return the headers for one attempt at sending `body`.
    A retry is signed anew. Each secret makes one signature, so sender and receiver need not change secrets
    at the same moment."""
    message_id = f"msg_{os.urandom(16).hex()}"
    timestamp = str(int(time.time()))
    signed = f"{message_id}.{timestamp}.".encode() + body
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: bytes, signed: bytes) -> str:
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
