"""Where a word to somebody goes."""

from dataclasses import dataclass
from enum import Enum

from pydantic import SecretStr


class Channel(str, Enum):
    EMAIL = "email"
    APPRISE = "apprise"
    WEBHOOK = "webhook"


@dataclass(frozen=True)
class Target:
    channel: Channel
    recipient: str
    """An address; else `<receiver>#<n>`, n from 1: never a URL, which may hold a secret."""


@dataclass(frozen=True)
class Resolved:
    """What a target's name stands for at the moment."""

    url: SecretStr
    """Of an email target its address."""
    secret: SecretStr | None
    """A webhook's."""
    timezone: str | None
    """Of the times that it is told; None: nothing is said of it."""
