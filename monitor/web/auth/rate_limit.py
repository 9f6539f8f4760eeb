"""The limit on guesses of passwords and tokens.

Attempts with a password or token are counted by name, in windows that begin with the first attempt. All
monitors on one database share the count. Only this module names the table of attempts.

An attempt counts before its outcome is known. Otherwise guesses that are sent in parallel would all be let
through. An attempt that was right is taken back.

Refused attempts write nothing for a few seconds after the first one. Otherwise a client that goes on guessing
keeps the events from the database's only writer. For the same reason the counting takes the turn of a user's
request."""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from sqlalchemy import Connection, case, delete, func, select, update
from starlette.types import Scope

from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.database.schema import failed_attempts as table
from monitor.database.statements import BulkInsert

FAILURES = 10  # from one address, and for one user from that address, in a window. Then it has to wait
MOST_FAILURES = 100
"""The limit for one user from all addresses together. Ten addresses have to guess before other people's
guesses shut a user out. NIST SP 800-63B allows as many in a row."""
WINDOW_SECONDS = 300
MAX_NAMES = 40_000  # that are counted. The oldest are deleted, so the table stays bounded
REFUSED_SECONDS = 5
"""The time for which a name is refused without a query. It is short, because another monitor may take back an
attempt meanwhile."""
MAX_REFUSED = 10_000  # names that are refused without a query. Of more, the oldest are queried again


def begin(connection: Connection, names: Mapping[str, int], now: datetime) -> dict[str, datetime]:
    """Count an attempt of each name, and return the names that have had too many.
    Each comes with the end of its window, and then the attempt is not counted. `names` says how many
    attempts each name may have in a window."""
    ends = now + timedelta(seconds=WINDOW_SECONDS)
    by_hash = {_hash(name): name for name in names}
    hashes = sorted(by_hash)  # in one order, or two monitors could wait for each other
    # Counted before the number is looked at: who counts holds the row, so no two see the same number.
    _COUNT.rows(
        connection,
        [{"hash": name_hash, "number": 1, "began_at": now, "ends_at": ends} for name_hash in hashes],
    )
    counted = connection.execute(select(table).where(table.c.hash.in_(hashes)))
    over = {by_hash[row.hash]: row.ends_at for row in counted if row.number > names[by_hash[row.hash]]}
    if over:
        _take_back(connection, hashes)
        return over
    surplus = connection.execute(select(func.count()).select_from(table)).scalar_one() - MAX_NAMES
    if surplus > 0:
        oldest = select(table.c.hash).order_by(table.c.ends_at).limit(surplus)
        connection.execute(delete(table).where(table.c.hash.in_(oldest.scalar_subquery())))
    return {}


def take_back(connection: Connection, names: Iterable[str]) -> None:
    """Take back an attempt that was not wrong."""
    _take_back(connection, sorted(_hash(name) for name in names))


def forget(connection: Connection, now: datetime) -> int:
    """Delete the attempts whose window is over, and return how many.
    The table never holds more than MAX_NAMES."""
    return connection.execute(delete(table).where(table.c.ends_at <= now)).rowcount


def forget_all(connection: Connection) -> None:
    """Delete all attempts."""
    connection.execute(delete(table))


def _count(insert: Any) -> Any:
    put = insert(table)
    new = put.excluded
    is_over = table.c.ends_at <= new.began_at
    counted = {
        "number": case((is_over, new.number), else_=table.c.number + new.number),
        "began_at": case((is_over, new.began_at), else_=table.c.began_at),
        "ends_at": case((is_over, new.ends_at), else_=table.c.ends_at),
    }
    return put.on_conflict_do_update(index_elements=table.primary_key, set_=counted)


_COUNT = BulkInsert(table, _count)


def _take_back(connection: Connection, hashes: Sequence[str]) -> None:
    for name_hash in hashes:
        connection.execute(update(table).where(table.c.hash == name_hash).values(number=table.c.number - 1))
    connection.execute(delete(table).where(table.c.hash.in_(hashes), table.c.number <= 0))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class Throttle:
    """The counter of attempts by name, in windows that begin with the first attempt."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._refused: OrderedDict[str, tuple[datetime, datetime]] = OrderedDict()
        """The end of the time without a query, and the end of the window, by name."""

    async def begin(self, names: Mapping[str, int], whose: str) -> int:
        """Count an attempt.
        Raises Overloaded.

        Return 0, or the seconds until these names may try again. `names` says how many attempts each name
        may have in a window. The write takes the share of `whose`."""
        now = self._clock()
        if over := self._remembered(names, now):
            return seconds_until(over, now)
        found = await self._database.write_for(whose, lambda connection: begin(connection, names, now))
        for name, ends in found.items():
            self._refused[name] = now + timedelta(seconds=REFUSED_SECONDS), ends
            self._refused.move_to_end(name)
        while len(self._refused) > MAX_REFUSED:
            self._refused.popitem(last=False)
        return seconds_until(found.values(), now)

    async def take_back(self, names: Iterable[str]) -> None:
        """Take back an attempt that was right or could not be judged."""
        for name in names:
            self._refused.pop(name, None)
        await self._database.write(lambda connection: take_back(connection, names))

    def _remembered(self, names: Iterable[str], now: datetime) -> list[datetime]:
        refused = (self._refused.get(name, (now, now)) for name in names)
        return [ends for until, ends in refused if min(until, ends) > now]


def seconds_until(ends: Iterable[datetime], now: datetime) -> int:
    """Return the whole seconds until the last of these moments, or 0 without any."""
    return max((math.ceil((end - now).total_seconds()) for end in ends), default=0)


IPV6_PREFIX = 64  # bits of an address: a customer has at least so many addresses (RFC 6177)


def address_of(scope: Scope) -> str:
    """Return the address by which a client is counted: of IPv6 its network."""
    client = scope.get("client")
    return _find_network(client[0]) if client else "unknown"


@lru_cache(maxsize=10_000)
def _find_network(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), IPV6_PREFIX), strict=False))
