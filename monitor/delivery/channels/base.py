"""The interface of a channel, and the message that a channel sends.

`Channel` sends one `OutgoingMessage` to one recipient. The result is a `SendReceipt` or a `SendError`, the
same as a mailer's (monitor/delivery/channels/errors.py).

`CleanChannel` stands between each channel and the ledger: no configured secret passes it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from monitor.delivery.channels.errors import SendError, SendReceipt, TryLater, clean_reply
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
    """The message for people."""
    kind: str
    """The kind of the notification."""
    payload: Mapping[str, Any]
    """The message for programs, as JSON."""
    traceparent: str | None = None
    """The trace that it belongs to (W3C Trace Context), where it is in one."""


class Channel(Protocol):
    """A way by which messages leave: `open`, then `send`."""

    @property
    def at_once(self) -> int:
        """The number of messages that the channel sends at the same time."""

    @property
    def is_one_server(self) -> bool:
        """True if one server takes all messages. Then Unavailable concerns every recipient."""

    async def open(self) -> None:
        """Make sure that a message can be sent, as far as that is known before. Raise Unavailable."""

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Send, and return once the message is taken. Raise SendError, whose text holds no secret."""

    async def close(self) -> None:
        """Close what the channel holds open."""


class CleanChannel:
    """A channel whose replies hold none of these secrets. It removes those of its own targets itself."""

    def __init__(self, channel: Channel, secrets: Iterable[str]) -> None:
        self._channel = channel
        self._secrets = tuple(secrets)

    @property
    def at_once(self) -> int:
        """The channel's own number."""
        return self._channel.at_once

    @property
    def is_one_server(self) -> bool:
        """True if the channel's one server takes all messages."""
        return self._channel.is_one_server

    async def open(self) -> None:
        """Open the channel. Raises Unavailable, without secrets in its text."""
        try:
            await self._channel.open()
        except SendError as error:
            raise self._clean_error(error) from None

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Send a message, and clean the answer and the refusals of secrets. Raises SendError."""
        try:
            receipt = await self._channel.send(message)
        except SendError as error:
            raise self._clean_error(error) from None
        refused = {who: self._clean_error(error) for who, error in receipt.refused.items()}
        return SendReceipt(clean_reply(receipt.answer, self._secrets), receipt.accepted, refused)

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    def _clean_error(self, error: SendError) -> SendError:
        cleaned = type(error)(clean_reply(str(error), self._secrets))
        if isinstance(error, TryLater) and isinstance(cleaned, TryLater):
            cleaned.not_before = error.not_before
        return cleaned
