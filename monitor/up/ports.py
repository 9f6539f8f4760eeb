"""Ports on the loopback address, held from the moment they are chosen until their server listens.

On Linux a socket that is bound and does not listen keeps others from being given its port by chance, while
a server that sets SO_REUSEADDR (uvicorn and aiosmtpd do) can still bind it. Elsewhere the port can only be
chosen, not held.
"""

import errno
import socket
import sys
from dataclasses import dataclass, field

from monitor.up.errors import CannotStart

LOOPBACK = "127.0.0.1"
PORTS = range(65536)
CAN_HOLD = sys.platform == "linux"


@dataclass
class Port:
    """A port that is ours. `instead_of`: the one that was asked for, if that was taken."""

    number: int
    instead_of: int | None = None
    _holder: socket.socket | None = field(default=None, repr=False)

    def release(self) -> None:
        """Let go: its server listens, or never will."""
        if self._holder:
            self._holder.close()
            self._holder = None


def hold(wanted: int) -> Port:
    """`wanted`, or a free one if that is taken (0: any free one).

    Raises CannotStart if it is no port, or this user may not open it.
    """
    if wanted not in PORTS:
        raise CannotStart(f"port {wanted} is none: choose one from 1024 to {PORTS[-1]}, or 0 for any")
    try:
        return _hold(wanted, None)
    except OSError as error:
        if error.errno == errno.EACCES:
            raise CannotStart(
                f"port {wanted} is reserved for the system's administrator. Choose one from 1024 up"
            ) from None
        if error.errno != errno.EADDRINUSE:
            raise CannotStart(f"port {wanted} on {LOOPBACK} cannot be opened: {error.strerror}") from None
    return _hold(0, wanted)


def _hold(number: int, instead_of: int | None) -> Port:
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if number:  # else connections of our last run that linger (TIME_WAIT) would count as taken
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((LOOPBACK, number))
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what lets the server bind it too
    except OSError:
        holder.close()
        raise
    port = Port(holder.getsockname()[1], instead_of, holder)
    if not CAN_HOLD:
        port.release()
    return port
