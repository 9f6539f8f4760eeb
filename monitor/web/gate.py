"""The gate: how someone who asks is known, and what that one may read.

`auth=none` (loopback only): everybody reads everything. `auth=airflow`: a session cookie for people, an
Airflow JWT as bearer token for programs, and each sees the DAGs that Airflow lets that user read. Where there
are several Airflows, a person sees what those show that know this name and password; a bearer token is the
first one's and is shown to no other.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from monitor.clock import Clock
from monitor.errors import AirflowError, AirflowRefused
from monitor.event_log import Visible
from monitor.settings import Settings
from monitor.web.rights import Rights, SignInApi
from monitor.web.sessions import Session, Sessions
from monitor.web.throttle import Throttle

BEARER_NAME = "a program (bearer token)"  # Airflow tells the DAGs of a token, and not whose it is


class NotSignedIn(Exception):
    """Nobody who may read has been named, or no more: the message says why."""


class TooManyFailures(Exception):
    """Too many wrong passwords or tokens: wait this many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed attempts; try again in {seconds} s")
        self.seconds = seconds


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


class Gate:
    """Knows who asks. `airflows` sign people in; they are not asked where sign-in is off."""

    def __init__(self, settings: Settings, airflows: Mapping[str, SignInApi], clock: Clock) -> None:
        self.open = settings.auth == "none"
        self.secure_cookie = settings.url.startswith("https://")
        self._sessions = Sessions(clock, settings.session_secret)
        self._throttle = Throttle(clock)
        self._first = settings.deployment
        self._rights = Rights(airflows, clock) if airflows else None

    async def sign_in(self, user: str, password: str, address: str) -> str:
        """Check a name and password at Airflow; answers the session cookie's value.

        Raises AirflowRefused, AirflowError, TooManyFailures.
        """
        names = (f"user {user.casefold()}", f"address {address}")
        self._brake(*names)
        if self._rights is None:
            raise AirflowRefused("no Airflow is configured: set WINDSOCK_AIRFLOW_URL")
        try:
            return self._sessions.begin(user, await self._rights.sign_in(user, password))
        except AirflowRefused:
            self._throttle.fail(*names)
            raise

    async def reads_every_dag(self, reader: Reader) -> bool:
        """Whether the reader may read all that the monitor's own user may. No, where nobody can say."""
        if reader.visible is None:
            return True
        try:
            every = await self._rights.every() if self._rights else 0
        except AirflowError:
            return False
        return 0 < every <= len(reader.visible)

    async def sight(self, reader: Reader) -> Visible:
        """What the reader may read of what belongs to DAGs and of what may belong to none: an incident of
        Airflow itself, a silence of many DAGs. None, everything, for who may read every DAG."""
        return None if await self.reads_every_dag(reader) else reader.visible

    def sign_out(self, cookie: str | None) -> None:
        if session := self._sessions.find(cookie or ""):
            self._sessions.end(session)

    async def session_reader(self, cookie: str) -> Reader:
        """Who a cookie stands for. Raises NotSignedIn, AirflowError."""
        session = self._live(cookie)

        async def rights() -> Visible:
            return await self._readable(self._live(cookie))

        return Reader(await self._readable(session), rights, session.user, session.csrf, session.user)

    async def bearer_reader(self, token: str, address: str) -> Reader:
        """Who a bearer token stands for. Raises NotSignedIn, AirflowError, TooManyFailures."""
        name = f"tokens from {address}"
        self._brake(name)

        async def rights() -> Visible:
            if self._rights is None:
                raise NotSignedIn("no Airflow is configured to check tokens at")
            try:
                return await self._rights.of({self._first: token})
            except AirflowRefused as refused:
                self._throttle.fail(name)
                raise NotSignedIn(f"Airflow refuses this bearer token: {refused}") from None

        return Reader(await rights(), rights, name=BEARER_NAME)

    def _brake(self, *names: str) -> None:
        if seconds := self._throttle.wait(*names):
            raise TooManyFailures(seconds)

    def _live(self, cookie: str) -> Session:
        session = self._sessions.find(cookie)
        if session is None:
            raise NotSignedIn("the session has ended; sign in again")
        return session

    async def _readable(self, session: Session) -> Visible:
        if self._rights is None:
            raise NotSignedIn("no Airflow is configured to sign in at")
        try:
            return await self._rights.of(session.tokens)
        except AirflowRefused:
            self._sessions.end(session)
            raise NotSignedIn("Airflow no longer accepts this session; sign in again") from None
