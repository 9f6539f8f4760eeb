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
    """A delivery, ready to go."""

    message_id: str
    """The same at each attempt."""
    recipient: str
    """The address, or a target's name, as in the ledger."""
    resolved: ResolvedTarget
    """The target that the recipient stands for now."""
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
        """The number of messages that the channel sends at the same time."""

    @property
    def is_one_server(self) -> bool:
        """True if one server takes all messages, so that Unavailable concerns every recipient."""

    async def open(self) -> None:
        """Make sure that a message can be sent, as far as that is known before. Raise Unavailable."""

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Send, and return once the message is taken. Raise SendError, whose text holds no secret."""

    async def close(self) -> None:
        """Let go of what is held open."""
