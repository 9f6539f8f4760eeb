"""The interface of a channel, and the message that a channel sends.

`Channel` sends one `OutgoingMessage` to one recipient. The result is a `SendReceipt` or a `SendError`, the
same as a mailer's (monitor/delivery/channels/errors.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from monitor.delivery.channels.errors import SendReceipt
from monitor.delivery.messages.renderer import RenderedMessage
from monitor.rules.targets import ResolvedTarget


@dataclass(frozen=True)
class OutgoingMessage:
    """One delivery, ready to go."""

    message_id: str
    """The same at each attempt."""
    recipient: str
    """As the ledger has it: an address, or a target's name."""
    resolved: ResolvedTarget
    """What that stands for now."""
    rendered: RenderedMessage
    """For people."""
    kind: str
    """The notification's."""
    payload: Mapping[str, Any]
    """The same for programs, as JSON."""
    traceparent: str | None = None
    """The trace that it belongs to (W3C Trace Context), where it is in one."""


class Channel(Protocol):
    """`open`, then `send`."""

    @property
    def at_once(self) -> int:
        """How many messages it can be given at the same time."""

    @property
    def is_one_server(self) -> bool:
        """Whether all that it sends passes through one server: what that refuses as a whole, it refuses to
        everybody. Otherwise Unavailable is about the recipient."""

    async def open(self) -> None:
        """Make sure, where that can be done beforehand, that the message can be given. Raises Unavailable."""

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Returns once it has been taken; raises SendError, in whose text no secret is."""

    async def close(self) -> None:
        """Let go of what is held open."""
