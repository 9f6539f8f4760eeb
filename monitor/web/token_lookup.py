"""What the database last said of each Windsock token that programs send."""

import logging
from asyncio import Lock
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from monitor import board, tokens
from monitor.clock import Clock
from monitor.database import Database
from monitor.tokens import Token

LOOKUP_SECONDS = 5
"""How long a token is taken as it was read. A feed asks before each page, and a thousand of them with tokens
must not each query the database; what one monitor revokes, the others know after as long."""
MAX_KNOWN = 2_000  # tokens that are remembered, as rights.MAX_TOKENS

logger = logging.getLogger(__name__)


@dataclass
class _Known:
    asking: Lock = field(default_factory=Lock)
    token: Token | None = None
    read_at: datetime | None = None


class TokenLookup:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def find(self, secret: str) -> Token | None:
        """The token of this secret, in force or not; None: there is none."""
        digest = tokens.hash_of(secret)
        known = self._known.setdefault(digest, _Known())
        self._known.move_to_end(digest)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        async with known.asking:  # one question at a time for a token, however many feeds it has open
            if known.read_at is None or self._age(known.read_at) >= LOOKUP_SECONDS:
                known.token = await self._read(digest)
                known.read_at = self._clock()
        if known.token is None:
            self._known.pop(digest, None)  # guesses are not worth a place
        return known.token

    async def _read(self, digest: str) -> Token | None:
        token = await self._database.read(lambda connection: tokens.of_hash(connection, digest))
        if token is not None and token.ended(self._clock()) is None and self._is_unnoted(token):
            await self._database.write(lambda connection: tokens.used(connection, token.id, self._clock()))
        return token

    def _is_unnoted(self, token: Token) -> bool:
        return token.last_used_at is None or self._age(token.last_used_at) >= tokens.USE_SECONDS

    def forget(self) -> None:
        """Read each token anew: one of them was changed here."""
        self._known.clear()

    async def narrow(self, user: str, shown: Mapping[str, frozenset[str]], whole: frozenset[str]) -> None:
        """Take from a user's tokens what the user may read no more: tokens.narrow()."""
        if lost := await self._database.write(
            lambda connection: tokens.narrow(connection, user, shown, whole, board.every_dag(connection))
        ):
            logger.info("tokens %s of %r read fewer DAGs now, as their creator does", lost, user)
            self.forget()

    def _age(self, moment: datetime) -> float:
        return (self._clock() - moment).total_seconds()
