"""The signed-in sessions of people, and the signed messages that one page shows once.

`Sessions` holds who is signed in, for every monitor on the same database. Only this module names the table
of sessions. Neither the database nor a backup gives away the Airflow tokens of a session. The cookie holds a
random id, of which the database keeps only a hash. The tokens are sealed (AES-256-GCM) with a key that is
derived (HKDF, RFC 5869) from that id and the session secret. The database holds neither of the two.

`Flash` holds the message that a page shows once after a form was sent. The message comes in a cookie, which
is deleted when the message is shown. So the answer to a form is a redirect, and reloading the page that
follows sends nothing again. The message is in no address, because browsers, proxies and logs keep addresses.
The cookie is signed, so that no foreign text is shown as Windsock's."""

import hashlib
import json
import os
import secrets
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import Request, Response
from itsdangerous import BadSignature, Signer, TimestampSigner
from pydantic import SecretStr
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, true

from monitor.airflow.connection import subject_of
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.database.schema import sessions as table
from monitor.web.auth.tokens import Owner, hash_of, share_of
from monitor.web.paths import path_prefix

SESSION_SECONDS = 12 * 3600  # a working day. Airflow's own token lives 24 hours
MAX_SESSIONS = 10_000  # the oldest gives way: the table stays bounded whoever signs in
MAX_OF_ONE_USER = 50  # browsers and devices: beyond that the user's own oldest gives way, and no other user's
KEY_BYTES = 32
NONCE_BYTES = 12  # AES-GCM's own (NIST SP 800-38D). Each key seals once, so no nonce comes twice
PURPOSE = b"windsock-session-1"


@dataclass(frozen=True)
class Session:
    """A signed-in session."""

    id: str = field(repr=False)
    user: str
    tokens: Mapping[str, str] = field(repr=False)
    """The user's Airflow tokens, by deployment."""
    csrf: str = field(repr=False)
    expires: datetime

    @property
    def owner(self) -> Owner:
        """The user of these Airflows."""
        return Owner(self.user, frozenset(self.tokens))

    @property
    def share(self) -> str:
        """The text by which the user's share is counted, however the name was spelled."""
        return share_of(self.user, {name: subject_of(token) for name, token in self.tokens.items()})


def begin(
    connection: Connection, user: str, tokens: Mapping[str, str], secret: str, now: datetime
) -> Session:
    """Sign a user in.
    Expired sessions are deleted. If there are too many, the oldest are deleted too, first the user's own."""
    forget(connection, now)
    expires = now + timedelta(seconds=SESSION_SECONDS)
    session = Session(secrets.token_urlsafe(), user, tokens, secrets.token_urlsafe(), expires)
    hashed = hash_of(session.id)
    owner = {"owner": user, "authenticated_by": session.owner.deployments}
    row = {"hash": hashed, "sealed": _seal(session, secret), "expires_at": expires, "share": session.share}
    connection.execute(insert(table).values({**row, **owner}))
    _bound(connection, table.c.share == session.share, MAX_OF_ONE_USER)
    _bound(connection, true(), MAX_SESSIONS)
    return session


def find(connection: Connection, session_id: str, keys: Sequence[str], now: datetime) -> Session | None:
    """Return the session of an id, unless it ended, expired, or was sealed with none of these secrets."""
    row = connection.execute(select(table).where(table.c.hash == hash_of(session_id))).one_or_none()
    if row is None or row.expires_at <= now:
        return None
    for secret in keys:
        if (opened := _unseal(row.sealed, session_id, secret, row.expires_at)) is not None:
            return Session(session_id, opened["user"], opened["tokens"], opened["csrf"], row.expires_at)
    return None


def end(connection: Connection, session_id: str) -> None:
    """End a session."""
    connection.execute(delete(table).where(table.c.hash == hash_of(session_id)))


def end_all(connection: Connection) -> int:
    """End every session and return how many."""
    return connection.execute(delete(table)).rowcount


def accepted_by(connection: Connection, user: str, now: datetime) -> set[frozenset[str]]:
    """Return the deployments of each owner of this name who is signed in."""
    conditions = table.c.owner == user, table.c.expires_at > now
    query = select(table.c.authenticated_by).where(*conditions).distinct()
    return set(connection.execute(query).scalars())


def end_of_user(connection: Connection, user: str, accepted: Collection[frozenset[str]]) -> int:
    """End the sessions of this name that these deployments accepted, and return how many."""
    conditions = table.c.owner == user, table.c.authenticated_by.in_(accepted)
    return connection.execute(delete(table).where(*conditions)).rowcount


def forget(connection: Connection, now: datetime) -> int:
    """Delete expired sessions and return how many. The table never holds more than MAX_SESSIONS."""
    return connection.execute(delete(table).where(table.c.expires_at <= now)).rowcount


def _bound(connection: Connection, whose: ColumnElement[bool], most: int) -> None:
    number = select(func.count()).select_from(table).where(whose)
    surplus = connection.execute(number).scalar_one() - most
    if surplus > 0:
        oldest = select(table.c.hash).where(whose).order_by(table.c.expires_at).limit(surplus)
        connection.execute(delete(table).where(table.c.hash.in_(oldest.scalar_subquery())))


def _seal(session: Session, secret: str) -> bytes:
    content = {"user": session.user, "tokens": dict(session.tokens), "csrf": session.csrf}
    nonce = os.urandom(NONCE_BYTES)
    vouched = _build_aad(session.id, session.expires)
    return nonce + _cipher(session.id, secret).encrypt(nonce, json.dumps(content).encode(), vouched)


def _unseal(sealed: bytes, session_id: str, secret: str, expires: datetime) -> dict[str, Any] | None:
    """Return the sealed content, or None if it was sealed with another secret or changed since."""
    nonce, rest = bytes(sealed[:NONCE_BYTES]), bytes(sealed[NONCE_BYTES:])
    try:
        content = _cipher(session_id, secret).decrypt(nonce, rest, _build_aad(session_id, expires))
    except InvalidTag:
        return None
    opened: dict[str, Any] = json.loads(content)
    return opened


def _build_aad(session_id: str, expires: datetime) -> bytes:
    """Return the data that the seal also vouches for.
    A row serves no other session, and its end is not put off."""
    return f"{hash_of(session_id)} {expires.isoformat()}".encode()


def _cipher(session_id: str, secret: str) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=secret.encode(), info=PURPOSE)
    return AESGCM(derived.derive(session_id.encode()))


LOOKUP_SECONDS = 5
"""The time for which a session is not read again. A page of many parts and a feed ask again and again, and
must not each query the database. A user who signs out at one monitor is signed out at the others after this
time."""
MAX_KNOWN = 2_000  # sessions that are remembered, as permissions.MAX_TOKENS


class Sessions:
    """The sessions of the database that were begun with one of these secrets.

    The first of `keys` signs and seals, and any of them verifies. Without keys, one is made for this
    process, and its sessions end with the process."""

    def __init__(self, database: Database, clock: Clock, keys: Sequence[SecretStr]) -> None:
        self._database = database
        self._clock = clock
        self._keys = [key.get_secret_value() for key in keys] or [secrets.token_urlsafe()]
        oldest_first = self._keys[::-1]  # the library signs with the last
        self._signer = Signer(oldest_first, salt="windsock-session", digest_method=hashlib.sha256)
        self._cache: OrderedDict[str, tuple[Session, datetime]] = OrderedDict()
        self._ended = 0
        """The number of sessions that this monitor ended."""

    async def begin(self, user: str, tokens: Mapping[str, str]) -> str:
        """Sign a user in and return the cookie's value."""
        now, secret = self._clock(), self._keys[0]
        session = await self._database.write(lambda connection: begin(connection, user, tokens, secret, now))
        return self._signer.sign(session.id).decode()

    async def find(self, cookie: str) -> Session | None:
        """Return the session that a cookie names, unless it was forged, has ended or has expired."""
        try:
            session_id = self._signer.unsign(cookie).decode()
        except (BadSignature, UnicodeError):
            return None
        now = self._clock()
        session, read_at = self._cache.get(session_id, (None, now))
        if session is None or (now - read_at).total_seconds() >= LOOKUP_SECONDS:
            ended = self._ended
            session = await self._database.read(
                lambda connection: find(connection, session_id, self._keys, now)
            )
            if ended == self._ended:  # else what was read may be over by now
                self._remember(session_id, session, now)
        return session if session and session.expires > now else None

    async def end(self, session: Session) -> None:
        """End a session at once at this monitor, and soon at the others."""
        await self._database.write(lambda connection: end(connection, session.id))
        self._ended += 1
        self._cache.pop(session.id, None)

    def _remember(self, session_id: str, session: Session | None, now: datetime) -> None:
        self._cache.pop(session_id, None)
        if session is not None:
            self._cache[session_id] = (session, now)
        if len(self._cache) > MAX_KNOWN:
            self._cache.popitem(last=False)


COOKIE = "windsock_flash"
SECONDS = 60  # a redirect is followed at once


class Flash:
    """The message that the next page shows once.
    `keys` are as for sessions: without any, one is made for this process."""

    def __init__(self, keys: Sequence[SecretStr], secure: bool) -> None:
        key_texts = [key.get_secret_value() for key in keys] or [secrets.token_urlsafe()]
        self._signer = TimestampSigner(key_texts[::-1], salt="windsock-flash", digest_method=hashlib.sha256)
        self._secure = secure

    def say(self, request: Request, answer: Response, path: str, text: str) -> None:
        """Have the page at this path show the text once."""
        answer.set_cookie(
            key=COOKIE,
            value=self._signer.sign(text).decode(),
            max_age=SECONDS,
            path=path_prefix(request) + path,
            secure=self._secure,
            httponly=True,
            samesite="strict",
        )

    def read_message(self, request: Request) -> str | None:
        """Return the message that the page is to show, or None if there is none of ours."""
        try:
            return self._signer.unsign(request.cookies.get(COOKIE, ""), max_age=SECONDS).decode()
        except (BadSignature, UnicodeError):
            return None

    def forget(self, request: Request, answer: Response, path: str) -> None:
        """Delete the message, because it was shown."""
        answer.delete_cookie(COOKIE, path=path_prefix(request) + path)
