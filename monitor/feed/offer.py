"""Sending to a reader without waking a task for it: what lets one process serve ten thousand.

An ASGI server's `send` is a coroutine that seldom has to wait: uvicorn writes to the socket and returns. So
it is driven here by hand, to its end or to where it waits. Where it waits, the reader is slow; the rest of
that very call is then awaited by a task of the reader's own, so nothing is sent twice or left out, whatever
the server had done before it waited.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any

from monitor.feed.block import Message

Send = Callable[[Message], Awaitable[None]]


class Waiting:
    """A send under way, with what it waits for."""

    def __init__(self, sending: Coroutine[Any, Any, None], first: Any) -> None:
        self._sending = sending
        self._first = first

    def __await__(self) -> Generator[Any, Any, None]:
        """Go on in the task that awaits this; to be awaited once."""
        awaited = self._first
        while True:
            yield awaited
            try:
                awaited = self._sending.send(None)
            except StopIteration:
                return


def offer(send: Send, message: Message) -> Waiting | None:
    """Send without waiting; answers the rest of the send where the reader does not take it at once."""
    sending: Any = send(message)
    try:
        first = sending.send(None)
    except StopIteration:
        return None
    return Waiting(sending, first)
