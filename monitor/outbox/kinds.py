"""What kind of word a notification is."""

from enum import Enum


class Kind(str, Enum):
    OPENED = "opened"
    FAILURE = "failure"
    FOLLOW_UP = "follow_up"
    REMINDER = "reminder"
    FLAPPING = "flapping"
    RECOVERED = "recovered"
    SUCCESS = "success"
    NOTICE = "notice"
    DIGEST = "digest"

    @property
    def is_urgent(self) -> bool:
        """Whether it may use the reserve of the daily budget."""
        return self not in (Kind.SUCCESS, Kind.NOTICE, Kind.DIGEST)
