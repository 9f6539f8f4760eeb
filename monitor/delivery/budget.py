"""The daily budget: what the mail account may send in 24 hours, with a reserve for what is urgent.

While the server still takes everything, the budget keeps below its limit: at the limit Gmail takes nothing
for a day, a failure's mail neither. When little is left, what is not urgent is told in a digest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor import outbox
from monitor.outbox import Delivery, Kind, Outcome, State
from monitor.rules import Channel, Rules
from monitor.rules.model import Budget as Limits

WINDOW = timedelta(hours=24)
RECOUNT = timedelta(seconds=10)  # other replicas send too; in between this one's own are counted along
MARGIN = timedelta(seconds=1)  # a place is free just after its 24 hours, by two clocks
TAKEN = (State.SENT, State.UNCERTAIN)


@dataclass(frozen=True)
class ToDigest:
    """It is told in the recipient's digest, due at this moment."""

    due: datetime


class Budget:
    """Of one channel, of one account: mail's."""

    def __init__(self, rules: Callable[[], Rules], channel: Channel = Channel.EMAIL) -> None:
        self._rules = rules
        self._channel = channel
        self._counted: int = 0
        self._counted_at: datetime | None = None
        self._since = 0
        self._out: set[int] = set()

    def has_room(self, delivery: Delivery, now: datetime) -> bool:
        """Whether there is room, which is now taken until `done`, where that is known without counting."""
        if delivery.channel is not self._channel:
            return True
        limits = self._rules().config.budget
        if not self._is_counted(now) or self._taken >= limits.daily - limits.reserve:
            return False
        self._out.add(delivery.id)
        return True

    def against(self, connection: Connection, delivery: Delivery, now: datetime) -> Outcome | ToDigest | None:
        """What becomes of it instead of being sent; None: there is room, which is now taken until `done`."""
        if delivery.channel is not self._channel:
            return None
        limits = self._rules().config.budget
        used = self._used(connection, now)
        if delivery.kind is not Kind.DIGEST:
            if not delivery.kind.is_urgent and used >= limits.daily - limits.reserve:
                return ToDigest(now + limits.digest_every)
            if used >= limits.daily:
                return self._parked(connection, limits, used, now)
        self._out.add(delivery.id)
        return None

    def done(self, delivery: Delivery, state: State | None) -> None:
        """What it came to; None: nobody knows, and the next count will tell."""
        if delivery.id in self._out:
            self._out.discard(delivery.id)
            self._since += state in TAKEN

    def _used(self, connection: Connection, now: datetime) -> int:
        if not self._is_counted(now):
            self._since = 0
            self._counted = outbox.sent_since(connection, self._channel, now - WINDOW)
            self._counted_at = now
        return self._taken

    def _is_counted(self, now: datetime) -> bool:
        return self._counted_at is not None and now - self._counted_at < RECOUNT

    @property
    def _taken(self) -> int:
        return self._counted + self._since + len(self._out)

    def _parked(self, connection: Connection, limits: Limits, used: int, now: datetime) -> Outcome:
        # Each waits for a place of its own: all of them at the first one would be parked again and again.
        before = outbox.parked(connection, self._channel) % max(1, used)
        oldest = outbox.frees_at(connection, self._channel, now - WINDOW, before)
        until = (oldest or now) + WINDOW + MARGIN
        reason = f"the budget of {limits.daily} mails in 24 hours is used"
        return Outcome(State.PARKED, f"parked until {until:%Y-%m-%d %H:%M} UTC: {reason}", until)
