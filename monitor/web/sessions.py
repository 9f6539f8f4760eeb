"""Who is signed in: sessions by the random id that a signed cookie holds.

They end with the process, on purpose: the Airflow tokens in them are never written anywhere.
"""

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from itsdangerous import BadSignature, Signer
from pydantic import SecretStr

from monitor.clock import Clock

SESSION_SECONDS = 12 * 3600  # a working day; Airflow's own token lives 24 hours
MAX_SESSIONS = 1_000  # the oldest gives way: memory stays bounded whoever signs in


@dataclass(frozen=True)
class Session:
    id: str = field(repr=False)
    user: str
    tokens: Mapping[str, str] = field(repr=False)
    """The user's Airflow tokens, by deployment."""
    csrf: str = field(repr=False)
    expires: datetime


class Sessions:
    """Every session of this process."""

    def __init__(self, clock: Clock, secret: SecretStr | None) -> None:
        self._clock = clock
        key = secret.get_secret_value() if secret else secrets.token_urlsafe()
        self._signer = Signer(key, salt="windsock-session", digest_method=hashlib.sha256)
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def begin(self, user: str, tokens: Mapping[str, str]) -> str:
        """Sign a user in; answers the cookie's value."""
        expires = self._clock() + timedelta(seconds=SESSION_SECONDS)
        session = Session(secrets.token_urlsafe(), user, tokens, secrets.token_urlsafe(), expires)
        self._sessions[session.id] = session
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return self._signer.sign(session.id).decode()

    def find(self, cookie: str) -> Session | None:
        """The session that a cookie names, unless it was forged, has ended or has expired."""
        try:
            session = self._sessions.get(self._signer.unsign(cookie).decode())
        except (BadSignature, UnicodeError):
            return None
        if session and session.expires <= self._clock():
            self.end(session)
            return None
        return session

    def end(self, session: Session) -> None:
        self._sessions.pop(session.id, None)
