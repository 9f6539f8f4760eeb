"""What sending a mail can come to. Whether to try again is decided where the protocol is known, as a class
of error, never by a caller that reads texts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import EmailMessage
from typing import Protocol

from monitor.errors import WindsockError


class SendError(WindsockError):
    """The mail was not taken, or nobody can say; the text is the server's own words."""


class TryLater(SendError):
    """Temporary: this mail, to these people, may be taken later."""

    not_before: timedelta | None = None
    """How long the other side asks to be left alone, where it says so."""


class Unavailable(TryLater):
    """The server as a whole takes nothing: no connection, no TLS, a refused name, host or login.

    No mail would pass, so all mails wait."""


class Misconfigured(TryLater):
    """The server refuses the sender or its host, or does not relay to this recipient. People mend that, here
    or at the server, so the mail waits."""


class Refused(SendError):
    """Permanent: the same mail will never be taken."""


class OverLimit(SendError):
    """The account has sent all that it may for today: wait until tomorrow."""


class Uncertain(SendError):
    """The connection broke between the message and the server's answer: it may have been taken."""


@dataclass(frozen=True)
class Receipt:
    """The server took the mail, for some of its recipients at least."""

    answer: str
    accepted: tuple[str, ...]
    refused: Mapping[str, SendError] = field(default_factory=dict)
    """Who was refused while others were accepted, each with TryLater, OverLimit or Refused."""


class Mailer(Protocol):
    """Sends mails: `open`, then `send`."""

    @property
    def at_once(self) -> int:
        """How many mails it can be given at the same time."""

    async def open(self) -> None:
        """Make sure that a server is there and lets us in, before it has the mail. Raises Unavailable."""

    async def send(self, message: EmailMessage, recipients: Sequence[str]) -> Receipt:
        """Hand a mail over. Returns once it has been taken; raises SendError."""

    async def close(self) -> None:
        """Let go of what is held open."""
