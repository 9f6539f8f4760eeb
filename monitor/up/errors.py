"""What ends `windsock up`, in words for the person who typed it."""

from monitor.errors import WindsockError


class CannotStart(WindsockError):
    """Something on this machine is not as it must be; the message holds the remedy."""


class PartDied(WindsockError):
    """One of the processes ended by itself; the message holds its status and the end of its log."""


class NotAllHappened(WindsockError):
    """The deadline came, or a run failed, before everything was through."""
