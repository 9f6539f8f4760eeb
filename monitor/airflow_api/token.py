"""The token that Airflow gives for a name and password, and when to ask for the next.

It is Airflow that checks the token; here only its dates are read, so its signature does not matter.
"""

from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from monitor.bounded_json import loads

RENEW_AT = 0.9  # of its life: a token must not end between the asking and the answer


@dataclass(frozen=True)
class Token:
    """A JWT. `renew_at` is None where it does not say when it ends: it is used until it is refused."""

    text: str = field(repr=False)
    renew_at: datetime | None = None

    @classmethod
    def read(cls, text: str, now: datetime) -> "Token":
        """The length of its life is taken from its own dates: clocks may differ from Airflow's."""
        claims = _claims(text)
        end, begin = claims.get("exp"), claims.get("iat", now.timestamp())
        if not isinstance(end, int | float) or not isinstance(begin, int | float):
            return cls(text)
        try:
            return cls(text, now + timedelta(seconds=max(0.0, end - begin) * RENEW_AT))
        except (OverflowError, ValueError):  # a life without an end, or no number
            return cls(text)

    def lasts(self, now: datetime) -> bool:
        return self.renew_at is None or now < self.renew_at


def subject_of(text: str) -> str | None:
    """The user that a JWT names. Only for a token that Airflow has accepted: its signature is not checked."""
    subject = _claims(text).get("sub")
    return str(subject) if isinstance(subject, str | int) else None


def _claims(text: str) -> dict[str, object]:
    """The middle part, decoded; empty where it is no JWT."""
    parts = text.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return claims if isinstance(claims, dict) else {}
