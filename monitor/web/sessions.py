"""Sessions as requests ask for them: by the random id that a signed cookie holds."""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime

from itsdangerous import BadSignature, Signer
from pydantic import SecretStr

from monitor import sessions
from monitor.clock import Clock
from monitor.database import Database
from monitor.sessions import SESSION_SECONDS, Session

__all__ = ["LOOKUP_SECONDS", "SESSION_SECONDS", "Session", "Sessions"]

LOOKUP_SECONDS = 5
"""How long a session is taken as it was read. A page of many parts and a feed ask again and again, and must
not each query the database; who signs out at one monitor is signed out at the others after as long."""
MAX_KNOWN = 2_000  # sessions that are remembered, as rights.MAX_TOKENS


class Sessions:
    """Every session of the database that was begun with one of these secrets.

    `keys`: the first one signs and seals, any verifies. Where there is none, one is made for this process,
    and its sessions end with it.
    """

    def __init__(self, database: Database, clock: Clock, keys: Sequence[SecretStr]) -> None:
        self._database = database
        self._clock = clock
        self._keys = [key.get_secret_value() for key in keys] or [secrets.token_urlsafe()]
        oldest_first = self._keys[::-1]  # the library signs with the last
        self._signer = Signer(oldest_first, salt="windsock-session", digest_method=hashlib.sha256)
        self._known: OrderedDict[str, tuple[Session, datetime]] = OrderedDict()
        self._ended = 0
        """How many were ended here."""

    async def begin(self, user: str, tokens: Mapping[str, str]) -> str:
        """Sign a user in; answers the cookie's value."""
        now, secret = self._clock(), self._keys[0]
        session = await self._database.write(
            lambda connection: sessions.begin(connection, user, tokens, secret, now)
        )
        return self._signer.sign(session.id).decode()

    async def find(self, cookie: str) -> Session | None:
        """The session that a cookie names, unless it was forged, has ended or has expired."""
        try:
            session_id = self._signer.unsign(cookie).decode()
        except (BadSignature, UnicodeError):
            return None
        now = self._clock()
        session, read_at = self._known.get(session_id, (None, now))
        if session is None or (now - read_at).total_seconds() >= LOOKUP_SECONDS:
            ended = self._ended
            session = await self._database.read(
                lambda connection: sessions.find(connection, session_id, self._keys, now)
            )
            if ended == self._ended:  # else what was read may be over by now
                self._remember(session_id, session, now)
        return session if session and session.expires > now else None

    async def end(self, session: Session) -> None:
        await self._database.write(lambda connection: sessions.end(connection, session.id))
        self._ended += 1
        self._known.pop(session.id, None)

    def _remember(self, session_id: str, session: Session | None, now: datetime) -> None:
        self._known.pop(session_id, None)
        if session is not None:
            self._known[session_id] = (session, now)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
