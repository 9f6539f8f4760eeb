"""Mail on its way out: one small interface, an SMTP server or the embedded mailbox behind it."""

from monitor.mailer.contract import (
    Mailer,
    Misconfigured,
    OverLimit,
    Receipt,
    Refused,
    SendError,
    TryLater,
    Unavailable,
    Uncertain,
)

__all__ = [
    "Mailer",
    "Misconfigured",
    "OverLimit",
    "Receipt",
    "Refused",
    "SendError",
    "TryLater",
    "Unavailable",
    "Uncertain",
]
