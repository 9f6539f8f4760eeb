"""The gate: how someone who asks is known, and what that one may read.

`auth=none` (loopback only): everybody reads everything. `auth=airflow`: a session cookie for people, a
bearer token for programs: Windsock's own, which says what it may read, or an Airflow JWT, whose user's DAGs
Airflow says. Where there are several Airflows, a person sees what those show that know this name and
password; a JWT is the first one's and is shown to no other.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from monitor.clock import Clock
from monitor.database import Database
from monitor.errors import AirflowError, AirflowRefused
from monitor.event_log import Visible
from monitor.settings import Settings
from monitor.tokens import PREFIX, Scope, Token, owner_of
from monitor.web.flash import Flash
from monitor.web.rights import Rights, SignInApi
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


async def _everything() -> Visible:
    return None


@dataclass(frozen=True)
class Reader:
    """Someone who asks, and what that one may read at this moment."""

    visible: Visible = None
    rights: Callable[[], Awaitable[Visible]] = field(default=_everything, repr=False)
    """Asks again: for whoever stays. Raises NotSignedIn, AirflowError."""
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
    ) -> None:
        self.open = settings.auth == "none"
        self.secure_cookie = settings.url.startswith("https://")
        self.flash = Flash(settings.session_secret, self.secure_cookie)
        self._sessions = Sessions(database, clock, settings.session_secret)
        self._throttle = Throttle(database, clock)
        self._clock = clock
        self._first = settings.deployment
        self.tokens = TokenLookup(database, clock)
        self._rights = Rights(airflows, clock) if airflows else None

    async def sign_in(self, user: str, password: str, address: str) -> str:
        """Check a name and password at Airflow; answers the session cookie's value.

        Raises AirflowRefused, AirflowError, TooManyFailures.
        """
        names = (f"user {user.casefold()}", f"address {address}")
        await self._brake(*names)
        if self._rights is None:
            raise AirflowRefused("no Airflow is configured: set WINDSOCK_AIRFLOW_URL")
        try:
            airflow_tokens = await self._rights.sign_in(user, password)
        except AirflowRefused:
            await self._throttle.fail(*names)
            raise
        await self._narrow(self._rights, user, airflow_tokens)
        return await self._sessions.begin(user, airflow_tokens)

    async def _narrow(self, rights: Rights, user: str, airflow_tokens: Mapping[str, str]) -> None:
        """What the user may read no more, the user's Windsock tokens do not read either."""
        try:
            every, dags = await rights.every(), await rights.of(airflow_tokens)
        except AirflowError as error:
            logger.warning("the tokens of %r are not compared with what Airflow shows: %s", user, error)
            return
        if len(dags) < every:
            await self.tokens.narrow(user, dags)

    async def reads_every_dag(self, reader: Reader) -> bool:
        """Whether the reader may read all that the monitor's own user may. No, where nobody can say."""
        # As many as there are is not all of them for a token: its DAGs are of the day when it was made.
        if reader.visible is None or reader.token is not None:
            return reader.visible is None
        try:
            every = await self._rights.every() if self._rights else 0
        except AirflowError:
            return False
        return 0 < every <= len(reader.visible)

    async def sight(self, reader: Reader) -> Visible:
        """What the reader may read of what belongs to DAGs and of what may belong to none: an incident of
        Airflow itself, a silence of many DAGs. None, everything, for who may read every DAG."""
        return None if await self.reads_every_dag(reader) else reader.visible

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

        async def rights() -> Visible:
            return await self._readable(await self._live(cookie))

        user = session.user
        return Reader(await self._readable(session), rights, user, session.csrf, user, owner=owner_of(user))

    async def bearer_reader(self, token: str, address: str) -> Reader:
        """Who a bearer token stands for. Raises NotSignedIn, AirflowError, TooManyFailures."""
        if token.startswith(PREFIX):
            return await self._token_reader(token, address)
        name = f"tokens from {address}"
        await self._brake(name)

        async def rights() -> Visible:
            if self._rights is None:
                raise NotSignedIn("no Airflow is configured to check tokens at")
            try:
                return await self._rights.of({self._first: token})
            except AirflowRefused as refused:
                await self._throttle.fail(name)
                raise NotSignedIn(f"Airflow refuses this bearer token: {refused}") from None

        return Reader(await rights(), rights, name=BEARER_NAME, is_nameless=True)

    async def token(self, secret: str, address: str) -> Token:
        """The Windsock token that is in force by this secret. Raises NotSignedIn, TooManyFailures.

        One that is in force is never braked: nobody else's failures from behind the same proxy shut it out,
        and guessing 256 bits is no use.
        """
        try:
            return await self._token(secret)
        except NotSignedIn:
            name = f"windsock tokens from {address}"
            await self._brake(name)
            await self._throttle.fail(name)
            raise

    async def _token(self, secret: str) -> Token:
        token = await self.tokens.find(secret)
        if token is None:
            raise NotSignedIn("no such token is known")
        if why := token.ended(self._clock()):
            raise NotSignedIn(f"the token {token.name!r} {why}")
        return token

    async def _token_reader(self, secret: str, address: str) -> Reader:
        async def rights() -> Visible:
            return (await self._token(secret)).dags

        token = await self.token(secret, address)
        whose = f" of {token.created_by}" if token.created_by else ""
        return Reader(
            token.dags, rights, name=f"token {token.name!r}{whose}", owner=token.created_by, token=token
        )

    async def _brake(self, *names: str) -> None:
        if seconds := await self._throttle.wait(*names):
            raise TooManyFailures(seconds)

    async def _live(self, cookie: str) -> Session:
        session = await self._sessions.find(cookie)
        if session is None:
            raise NotSignedIn("the session has ended; sign in again")
        return session

    async def _readable(self, session: Session) -> Visible:
        if self._rights is None:
            raise NotSignedIn("no Airflow is configured to sign in at")
        try:
            return await self._rights.of(session.tokens)
        except AirflowRefused:
            await self._sessions.end(session)
            raise NotSignedIn("Airflow no longer accepts this session; sign in again") from None
