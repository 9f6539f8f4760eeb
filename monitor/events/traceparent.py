"""What a `traceparent` is (W3C Trace Context, level 1); CloudEvents' distributed tracing extension has it."""

import re

ATTRIBUTE = "traceparent"
MAX_LENGTH = 200  # characters; version 00 has 55, and what later ones append is no reason to keep a novel
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def valid(value: object) -> str | None:
    """The value where it is one. Version 00 has four parts; what later ones append is let pass."""
    if not isinstance(value, str) or len(value) > MAX_LENGTH:
        return None
    found = _FORM.fullmatch(value)
    return value if found and not (found[1] == "00" and found[2]) else None
