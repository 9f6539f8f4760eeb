"""A mistake, as a check finds it: where, and what to do. Line and value are added from the file."""

from dataclasses import dataclass

from monitor.rules.source import Path


@dataclass(frozen=True)
class Found:
    path: Path
    message: str
    show: bool = True
    """Whether the value stands before the message."""
