"""The gate: how someone who asks is known, and what that one may read.

`auth=none` (loopback only): everybody reads everything. `auth=airflow`: a session cookie for people, a
bearer token for programs: Windsock's own, which says what it may read, or an Airflow JWT, whose user's DAGs
Airflow says. Where there are several Airflows, a person sees what those show that know this name and
password; a JWT is the first one's and is shown to no other.

Who may read every DAG in Airflow reads everything here (`visible` is None), so that every list and every
number on a page is of the same moment and of the same rights.
"""

import logging
from asyncio import Lock
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakValueDictionary

from monitor.airflow_api.token import subject_of
from monitor.clock import Clock
from monitor.database import Database
from monitor.errors import AirflowError, AirflowRefused
from monitor.event_log import LoggedDags, Visible
from monitor.settings import Settings
from monitor.tokens import PREFIX, Scope, Token, owner_of
from monitor.web.flash import Flash
from monitor.web.rights import ReadableNow, Rights, SignedIn, SignInApi
from monitor.web.sessions import Session, Sessions
from monitor.web.throttle import Throttle
from monitor.web.token_lookup import TokenLookup

BEARER_NAME = "a program (bearer token)"  # Airflow tells the DAGs of a token, and not whose it is

logger = logging.getLogger(__name__)


class NotSignedIn(Exception):
    """Nobody who may read has been named, or no more: the message says why."""


class TooManyFailures(Exception):
    """Too many wrong passwords or tokens: wait this many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed attempts; try again in {seconds} s")
        self.seconds = seconds


class ScopeLacking(Exception):
    """The token is for something else: the message names the scope."""

    def __init__(self, token: Token, scope: Scope) -> None:
        has = ", ".join(sorted(token.scopes))
        super().__init__(
            f"the token {token.name!r} ({token.prefix}…) lacks the scope {scope.value!r}, it has: {has}. "
            f"Make one that has it on the page Tokens, or with `windsock token create --scope {scope.value}`"
        )
        self.scope = scope


class ReaderRights(Protocol):
    """Asks again what a reader may read. Raises NotSignedIn, AirflowError."""

    async def __call__(self, anew: bool = False) -> Visible:
        """`anew`: ask Airflow, whatever is remembered."""
        ...


async def _everything(anew: bool = False) -> Visible:  # noqa: ARG001 (a ReaderRights)
    return None


@dataclass(frozen=True)
class Reader:
    """Someone who asks, and what that one may read at this moment."""

    visible: Visible = None
    rights: ReaderRights = field(default=_everything, repr=False)
    """Asks again: for whoever stays."""
    seq: int | None = None
    """The place in the log up to which `visible` decides; None: it does for all that comes."""
    user: str | None = None
    """Known for sessions only."""
    csrf: str | None = field(default=None, repr=False)
    """What a form must send back: sessions only, for browsers alone send cookies unasked."""
    name: str = "local"
    """How what the reader does is signed: the user's name, or what else is known."""
    owner: str | None = None
    """Whose tokens are the reader's: tokens.owner_of() the user; None: those of the monitor's machine."""
    is_nameless: bool = False
    """Nobody knows whose they would be: of an Airflow JWT."""
    whose: str | None = None
    """By what a fair share is counted; None: everybody reads, and nobody is told apart."""
    token: Token | None = field(default=None, repr=False)
    """The Windsock token that was sent, which bounds what the reader may do."""

    def require(self, scope: Scope) -> None:
        """Raises ScopeLacking. People, and Airflow's own tokens, may all that their user may."""
        if self.token is not None and not self.token.allows(scope):
            raise ScopeLacking(self.token, scope)


class Gate:
    """Knows who asks. `airflows` sign people in; they are not asked where sign-in is off."""

    def __init__(
        self,
        settings: Settings,
        airflows: Mapping[str, SignInApi],
        database: Database,
        clock: Clock,
        logged: LoggedDags,
    ) -> None:
        self.open = settings.auth == "none"
        self.secure_cookie = settings.url.startswith("https://")
        self.flash = Flash(settings.session_secret, self.secure_cookie)
        self._sessions = Sessions(database, clock, settings.session_secret)
        self._throttle = Throttle(database, clock)
        self._first_use: WeakValueDictionary[str, Lock] = WeakValueDictionary()
        self._clock = clock
        self._first = settings.deployment
        self.tokens = TokenLookup(database, clock)
        self._logged = logged
        self._rights = Rights(airflows, clock, logged) if airflows else None

    async def sign_in(self, user: str, password: str, address: str) -> str:
        """Check a name and password at Airflow; answers the session cookie's value.

        Raises AirflowRefused, AirflowError, TooManyFailures.
        """
        if self._rights is None:
            raise AirflowRefused("no Airflow is configured: set WINDSOCK_AIRFLOW_URL")
        # Airflow may take a name in any case for the same user: guesses at all of them are counted together.
        names = (f"user {user.casefold()}", f"address {address}")
        await self._logged.catch_up()
        async with self._attempt(*names):
            signed_in = await self._rights.sign_in(user, password)
        await self._narrow(self._rights, user, signed_in)
        return await self._sessions.begin(user, signed_in.tokens)

    async def _narrow(self, rights: Rights, user: str, signed_in: SignedIn) -> None:
        """What the user may read no more, the user's Windsock tokens do not read either."""
        if not signed_in.is_complete:
            logger.warning(
                "the tokens of %r are not compared with what Airflow shows: not every one answers", user
            )
            return
        try:
            now = await rights.of(signed_in.tokens, anew=True)
        except AirflowError as error:
            logger.warning("the tokens of %r are not compared with what Airflow shows: %s", user, error)
            return
        # An Airflow that shows nothing to anybody may have lost its database: it takes nothing away.
        if now.visible is not None and rights.shows_any:
            await self.tokens.narrow(user, now.visible)

    async def reads_every_dag(self, reader: Reader) -> bool:
        """Return True if the reader may read all that the monitor's own user may."""
        return reader.visible is None

    async def sight(self, reader: Reader) -> Visible:
        """What the reader may read of what belongs to DAGs and of what may belong to none: an incident of
        Airflow itself, a silence of many DAGs. None, everything, for who may read every DAG."""
        return reader.visible

    async def sign_out(self, cookie: str | None) -> None:
        """At every monitor on this database: here at once."""
        if session := await self._sessions.find(cookie or ""):
            await self._sessions.end(session)

    async def session_reader(self, cookie: str) -> Reader:
        """Who a cookie stands for. Raises NotSignedIn, AirflowError."""
        if not cookie:
            raise NotSignedIn(
                "the request names nobody; send a token as `Authorization: Bearer …`, or sign in at /login"
            )
        session = await self._live(cookie)

        async def rights(anew: bool = False) -> Visible:
            return _current(await self._readable(await self._live(cookie), anew))

        await self._logged.catch_up()
        now, user = await self._readable(session), session.user
        owner = owner_of(user)
        return Reader(
            now.visible, rights, now.seq, user, session.csrf, user, owner=owner, whose=f"user {owner}"
        )

    async def bearer_reader(self, token: str, address: str) -> Reader:
        """Who a bearer token stands for. Raises NotSignedIn, AirflowError, TooManyFailures."""
        if token.startswith(PREFIX):
            return await self._token_reader(token, address)
        if self._rights is None:
            raise NotSignedIn("no Airflow is configured to check tokens at")
        known, tokens, name = self._rights, {self._first: token}, f"tokens from {address}"

        async def ask(anew: bool = False) -> ReadableNow:
            try:
                async with self._first_use.setdefault(token, Lock()):  # sent side by side, it is one attempt
                    if not known.knows(tokens):
                        async with self._attempt(name):
                            return await known.of(tokens, anew)
                return await known.of(tokens, anew)
            except AirflowRefused as refused:
                raise NotSignedIn(f"Airflow refuses this bearer token: {refused}") from None

        async def rights(anew: bool = False) -> Visible:
            return _current(await ask(anew))

        await self._logged.catch_up()
        now = await ask()
        who = subject_of(token) or address
        return Reader(
            now.visible, rights, now.seq, name=BEARER_NAME, is_nameless=True, whose=f"Airflow {who}"
        )

    async def token(self, secret: str, address: str) -> Token:
        """The Windsock token that is in force by this secret. Raises NotSignedIn, TooManyFailures.

        One that is in force is never braked: nobody else's failures from behind the same proxy shut it out,
        and guessing 256 bits is no use.
        """
        try:
            return await self._token(secret)
        except NotSignedIn:
            await self._count(f"windsock tokens from {address}")
            raise

    async def _token(self, secret: str) -> Token:
        token = await self.tokens.find(secret)
        if token is None:
            raise NotSignedIn("no such token is known")
        if why := token.ended(self._clock()):
            raise NotSignedIn(f"the token {token.name!r} {why}")
        return token

    async def _token_reader(self, secret: str, address: str) -> Reader:
        async def rights(anew: bool = False) -> Visible:  # noqa: ARG001 (Airflow does not know the token)
            return (await self._token(secret)).dags

        token = await self.token(secret, address)
        whose = f" of {token.created_by}" if token.created_by else ""
        return Reader(
            token.dags,
            rights,
            name=f"token {token.name!r}{whose}",
            owner=token.created_by,
            token=token,
            whose=f"user {token.created_by}" if token.created_by else f"token {token.id}",
        )

    async def _count(self, *names: str) -> None:
        """Raises TooManyFailures."""
        if seconds := await self._throttle.begin(*names):
            raise TooManyFailures(seconds)

    @asynccontextmanager
    async def _attempt(self, *names: str) -> AsyncIterator[None]:
        """Something that counts as wrong until Airflow has said otherwise. Raises TooManyFailures."""
        await self._count(*names)
        try:
            yield
        except AirflowRefused:
            raise
        except AirflowError:  # nobody has said that it is wrong
            await self._throttle.take_back(*names)
            raise
        await self._throttle.take_back(*names)

    async def _live(self, cookie: str) -> Session:
        session = await self._sessions.find(cookie)
        if session is None:
            raise NotSignedIn("the session has ended; sign in again")
        return session

    async def _readable(self, session: Session, anew: bool = False) -> ReadableNow:
        if self._rights is None:
            raise NotSignedIn("no Airflow is configured to sign in at")
        try:
            return await self._rights.of(session.tokens, anew)
        except AirflowRefused:
            await self._sessions.end(session)
            raise NotSignedIn("Airflow no longer accepts this session; sign in again") from None


def _current(now: ReadableNow) -> Visible:
    """For who goes on along the log. Raises AirflowError where Airflow has not been asked about a new DAG."""
    if not now.is_current:
        raise AirflowError("the log has a new DAG, and Airflow cannot be asked now whether you may read it")
    return now.visible
