"""The look-up of tokens by their secrets, which remembers what it has read for some seconds."""

import logging
from asyncio import Lock
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.event_log.projections import dags as dags_projection
from monitor.web.auth.tokens import USE_SECONDS, Token, find_by_hash, hash_of, narrow, record_use

LOOKUP_SECONDS = 5
"""The time for which a token is not read again. A feed asks before each page, and a thousand feeds with
tokens must not each query the database. A token that one monitor revokes is refused by the others after this
time."""
MAX_KNOWN = 2_000  # tokens that are remembered, as permissions.MAX_TOKENS

logger = logging.getLogger(__name__)


@dataclass
class _CacheEntry:
    asking: Lock = field(default_factory=Lock)
    token: Token | None = None
    read_at: datetime | None = None


class TokenLookup:
    """The look-up of tokens, with a short memory."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._cache: OrderedDict[str, _CacheEntry] = OrderedDict()

    async def find(self, secret: str, whose: str) -> Token | None:
        """Return the token of this secret, in force or not, or None.
        Raises Overloaded.

        The query takes the share of `whose`, because any client may send any secret."""
        digest = hash_of(secret)
        entry = self._cache.setdefault(digest, _CacheEntry())
        self._cache.move_to_end(digest)
        if len(self._cache) > MAX_KNOWN:
            self._cache.popitem(last=False)
        async with entry.asking:  # one question at a time for a token, however many feeds it has open
            if entry.read_at is None or self._age(entry.read_at) >= LOOKUP_SECONDS:
                entry.token = await self._read(digest, whose)
                entry.read_at = self._clock()
        if entry.token is None:
            self._cache.pop(digest, None)  # guesses are not worth a place
        return entry.token

    async def _read(self, digest: str, whose: str) -> Token | None:
        token = await self._database.read_for(whose, lambda connection: find_by_hash(connection, digest))
        if token is not None and token.rejection_reason(self._clock()) is None and self._is_unnoted(token):
            await self._database.write(lambda connection: record_use(connection, token.id, self._clock()))
        return token

    def _is_unnoted(self, token: Token) -> bool:
        return token.last_used_at is None or self._age(token.last_used_at) >= USE_SECONDS

    def forget(self) -> None:
        """Read each token anew, because this monitor has changed one."""
        self._cache.clear()

    async def narrow(self, user: str, dags: Mapping[str, frozenset[str]], whole: frozenset[str]) -> None:
        """Take from a user's tokens what the user may no longer read: tokens.narrow()."""
        if lost := await self._database.write(
            lambda connection: narrow(connection, user, dags, whole, dags_projection.every_dag(connection))
        ):
            logger.info("tokens %s of %r read fewer DAGs now, as their creator does", lost, user)
            self.forget()

    def _age(self, moment: datetime) -> float:
        return (self._clock() - moment).total_seconds()
