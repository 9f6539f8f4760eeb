"""The sign-in and the identity of the principal that sends a request, with its rights.

With `auth=none` (loopback only) everybody reads everything. With `auth=airflow` people have a session cookie
and programs a bearer token. A token of Windsock's own says what it may read. For an Airflow JWT, Airflow
says which DAGs its user may read. With several Airflows, a person sees what those show that accept this name
and password. A JWT belongs to the first Airflow and is shown to no other.

Each Airflow decides about its own users and about no other's. A session and a token keep which deployments'
Airflows accepted the password. Their rights, their tokens and their share of the limits follow from the name
and that set.

A user who may read every DAG in Airflow reads everything in Windsock (`Principal.allowed_dags` is None). So
every list and every number on a page comes from the same moment and the same rights."""

import logging
from asyncio import Lock
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakValueDictionary

from monitor.airflow.connection import subject_of
from monitor.clock import Clock
from monitor.database.engine import Database
from monitor.errors import AirflowError, AirflowRefused
from monitor.event_log.deployments import LoggedDags
from monitor.event_log.filters import AllowedDags
from monitor.event_log.projections import dags as dags_projection
from monitor.settings import Settings
from monitor.web.auth import tokens
from monitor.web.auth.permissions import ReadableNow, Rights, SignInApi, first_of
from monitor.web.auth.rate_limit import FAILURES, MOST_FAILURES, Throttle
from monitor.web.auth.sessions import Flash, Session, Sessions
from monitor.web.auth.token_lookup import TokenLookup
from monitor.web.auth.tokens import PREFIX, Owner, Scope, Token, share_of

BEARER_NAME = "a program (bearer token)"  # Airflow shows the DAGs of a token, but not its user

logger = logging.getLogger(__name__)


class NotSignedIn(Exception):
    """The error that a request names no user who may read. The message says why."""


class TooManyFailures(Exception):
    """Too many wrong passwords or tokens. The caller has to wait `seconds`."""

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


class PrincipalRights(Protocol):
    """A function that asks again what a reader may read. Raises NotSignedIn and AirflowError."""

    async def __call__(self, anew: bool = False) -> AllowedDags:
        """Return the DAGs that the reader may read. `anew` asks Airflow, whatever is remembered."""
        ...


async def _everything(anew: bool = False) -> AllowedDags:  # noqa: ARG001 (a PrincipalRights)
    return None


@dataclass(frozen=True)
class Principal:
    """A person or program that sends a request, and what it may read at this moment."""

    allowed_dags: AllowedDags = None
    rights: PrincipalRights = field(default=_everything, repr=False)
    """The function that asks again, for a principal that stays."""
    seq: int | None = None
    """The place in the log up to which `allowed_dags` decides. None means that it decides for all that
    comes."""
    user: str | None = None
    """Known for sessions only."""
    csrf: str | None = field(default=None, repr=False)
    """The token that a form must send back. Only sessions have one, because only browsers send cookies
    unasked."""
    name: str = "local"
    """The signature of the reader's actions: the user's name, with the deployments whose Airflows know it if
    there are several Airflows, or else what is known."""
    owner: Owner | None = None
    """The owner of the reader's tokens. None stands for the monitor's machine."""
    is_nameless: bool = False
    """True if the owner of tokens would be unknown, as for an Airflow JWT."""
    whose: str | None = None
    """The key by which a fair share is counted. None if everybody reads and users are not distinguished."""
    token: Token | None = field(default=None, repr=False)
    """The Windsock token that was sent, which bounds what the reader may do."""

    def require(self, scope: Scope) -> None:
        """Raise ScopeLacking if a token lacks the scope.
        People, and Airflow's own tokens, may do all that their user may."""
        if self.token is not None and not self.token.allows(scope):
            raise ScopeLacking(self.token, scope)


class Authenticator:
    """The authenticator of requests. `airflows` sign people in. They are not asked if sign-in is off."""

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
        self._airflows = frozenset(airflows)
        self._database = database
        self._every_dag: tuple[int, frozenset[tuple[str, str]]] = (-1, frozenset())
        """Each DAG that is known, and for which version of the logged DAGs that holds."""
        self.tokens = TokenLookup(database, clock)
        self._logged = logged
        self._rights = Rights(airflows, clock, logged) if airflows else None

    @property
    def has_several(self) -> bool:
        """True if a name alone does not identify a user."""
        return len(self._airflows) > 1

    async def adopt_tokens(self) -> None:
        """Say of tokens that are older than what is kept of their creators' Airflows which one it was."""
        if not await self._database.read(tokens.unattributed):
            return
        if left := await self._database.write(lambda connection: tokens.adopt(connection, self._airflows)):
            logger.warning("%s", tokens.unattributed_words(left))

    async def sign_in(self, user: str, password: str, address: str) -> str:
        """Check a name and password at each Airflow, and return the session cookie's value.

        Raises AirflowRefused, AirflowError and TooManyFailures."""
        if self._rights is None:
            raise AirflowRefused("no Airflow is configured: set WINDSOCK_AIRFLOW_URL")
        await self._logged.catch_up()
        async with self._attempt(f"address {address}", address):
            accepted = await self._accepted(self._rights, user, password, address)
        await self._narrow(self._rights, user, accepted)
        return await self._sessions.begin(user, accepted)

    async def _accepted(self, rights: Rights, user: str, password: str, address: str) -> dict[str, str]:
        """Return the user's tokens of the Airflows that accept the password.
        An Airflow is not asked if its own users were guessed at too often. That another Airflow accepts a
        user says nothing of guesses at this one."""
        waits: dict[str, int] = {}
        scopes: dict[str, dict[str, int]] = {}
        for deployment in sorted(self._airflows):
            limits = _limits(deployment, user, address)
            if seconds := await self._throttle.begin(limits, f"address {address}"):
                waits[deployment] = seconds
            else:
                scopes[deployment] = limits
        answers = await rights.sign_in(user, password, scopes)
        for deployment, limits in scopes.items():
            if not answers.refused(deployment):
                await self._throttle.take_back(limits)
        if answers.tokens:
            return answers.tokens
        if waits:  # one that was not asked may know the password
            raise TooManyFailures(min(waits.values()))
        raise first_of(answers.errors.values())

    async def _narrow(self, rights: Rights, user: str, accepted: Mapping[str, str]) -> None:
        """Take from the user's Windsock tokens what the user may no longer read in these Airflows."""
        try:
            now = await rights.fetch(accepted, anew=True)
        except AirflowError as error:
            logger.warning("the tokens of %r are not compared with what Airflow shows: %s", user, error)
            return
        # An Airflow that shows nothing to anybody may have lost its database: it takes nothing away.
        dags_by_deployment = {name: dags for name, dags in now.dags.items() if rights.shows_any(name)}
        if not dags_by_deployment.keys() <= now.whole:
            await self.tokens.narrow(user, dags_by_deployment, now.whole)

    async def reads_every_dag(self, principal: Principal) -> bool:
        """Return True if the reader may read all that the monitor's own user may."""
        return principal.allowed_dags is None

    async def get_permissions(self, principal: Principal) -> AllowedDags:
        """Return what the reader may read, or None for a reader of every DAG.
        This holds also for what may belong to no DAG: an incident of Airflow itself, a silence of many DAGs.
        """
        return principal.allowed_dags

    async def sign_out(self, cookie: str | None) -> None:
        """End the session at every monitor on this database, at this one at once."""
        if session := await self._sessions.find(cookie or ""):
            await self._sessions.end(session)

    async def session_reader(self, cookie: str) -> Principal:
        """Return the principal of a cookie. Raises NotSignedIn and AirflowError."""
        if not cookie:
            raise NotSignedIn(
                "the request names nobody; send a token as `Authorization: Bearer …`, or sign in at /login"
            )
        session = await self._live(cookie)

        async def rights(anew: bool = False) -> AllowedDags:
            return _current(await self._readable(await self._live(cookie), anew))

        await self._logged.catch_up()
        now, user = await self._readable(session), session.user
        owner = Owner(user, session.owner.deployments - now.refused)
        name, whose = self._name_of(owner), session.share
        return Principal(
            now.allowed_dags, rights, now.seq, user, session.csrf, name, owner=owner, whose=whose
        )

    async def bearer_reader(self, token: str, address: str) -> Principal:
        """Return the principal of a bearer token. Raises NotSignedIn, AirflowError and TooManyFailures."""
        if token.startswith(PREFIX):
            return await self._token_reader(token, address)
        if self._rights is None:
            raise NotSignedIn("no Airflow is configured to check tokens at")
        all_rights, tokens, name = self._rights, {self._first: token}, f"tokens from {address}"

        async def ask(anew: bool = False) -> ReadableNow:
            try:
                async with self._first_use.setdefault(token, Lock()):  # sent side by side, it is one attempt
                    if not all_rights.knows(tokens):
                        async with self._attempt(name, address):
                            return await all_rights.fetch(tokens, anew)
                return await all_rights.fetch(tokens, anew)
            except AirflowRefused as refused:
                raise NotSignedIn(f"Airflow refuses this bearer token: {refused}") from None

        async def rights(anew: bool = False) -> AllowedDags:
            return _current(await ask(anew))

        await self._logged.catch_up()
        now = await ask()
        whose = share_of(address, {self._first: subject_of(token)})
        return Principal(now.allowed_dags, rights, now.seq, name=BEARER_NAME, is_nameless=True, whose=whose)

    async def token(self, secret: str, address: str) -> Token:
        """Return the Windsock token in force with this secret.
        Raises NotSignedIn and TooManyFailures.

        A token in force is never braked. So other people's failures from behind the same proxy do not shut
        it out, and guessing 256 bits is no use."""
        try:
            return await self._token(secret, f"address {address}")
        except NotSignedIn:
            await self._count(f"windsock tokens from {address}", address)
            raise

    async def _token(self, secret: str, whose: str) -> Token:
        token = await self.tokens.find(secret, whose)
        if token is None:
            raise NotSignedIn("no such token is known")
        if why := token.rejection_reason(self._clock()):
            raise NotSignedIn(f"the token {token.name!r} {why}")
        if token.is_unattributed:
            raise NotSignedIn(f"of the token {token.name!r} it is not known whose it is; make it anew")
        return token

    async def _token_reader(self, secret: str, address: str) -> Principal:
        async def rights(anew: bool = False) -> AllowedDags:  # noqa: ARG001 (Airflow does not know the token)
            return (await self._seen_by(await self._token(secret, whose)))[0]

        token = await self.token(secret, address)
        allowed_dags, seq = await self._seen_by(token)
        owner = token.owner
        whose = token.share or (owner.share if owner else f"token {token.id}")
        return Principal(
            allowed_dags,
            rights,
            seq,
            name=f"token {token.name!r}" + (f" of {self._name_of(owner)}" if owner else ""),
            owner=owner,
            token=token,
            whose=whose,
        )

    async def _seen_by(self, token: Token) -> tuple[AllowedDags, int | None]:
        """Return what a token reads, and the place in the log up to which that decides.
        None for the place means that it decides for all that comes. A token for every DAG reads those of the
        Airflows that its creator could read, not of an Airflow that was added since."""
        accepted = token.authenticated_by
        if token.dags is not None or accepted is None or self._airflows <= accepted:
            return token.dags, None
        await self._logged.catch_up()
        now, seq = self._logged.version, self._logged.seq
        version, dags = self._every_dag
        if version != now:
            dags = self._logged.dags | await self._database.read(dags_projection.every_dag)
            self._every_dag = now, dags
        return frozenset(pair for pair in dags if pair[0] in accepted), seq

    def _name_of(self, owner: Owner) -> str:
        return owner.full_name if self.has_several else owner.user

    async def _count(self, name: str, address: str) -> None:
        """Count an attempt. Raises TooManyFailures, Overloaded."""
        if seconds := await self._throttle.begin({name: FAILURES}, f"address {address}"):
            raise TooManyFailures(seconds)

    @asynccontextmanager
    async def _attempt(self, name: str, address: str) -> AsyncIterator[None]:
        """Count an attempt as wrong until Airflow has accepted it. Raises TooManyFailures, Overloaded."""
        await self._count(name, address)
        try:
            yield
        except AirflowRefused:
            raise
        except (AirflowError, TooManyFailures):  # no Airflow has said that it is wrong
            await self._throttle.take_back([name])
            raise
        await self._throttle.take_back([name])

    async def _live(self, cookie: str) -> Session:
        session = await self._sessions.find(cookie)
        if session is None:
            raise NotSignedIn("the session has ended; sign in again")
        return session

    async def _readable(self, session: Session, anew: bool = False) -> ReadableNow:
        if self._rights is None:
            raise NotSignedIn("no Airflow is configured to sign in at")
        try:
            return await self._rights.fetch(session.tokens, anew)
        except AirflowRefused:
            await self._sessions.end(session)
            raise NotSignedIn("Airflow no longer accepts this session; sign in again") from None


def _limits(deployment: str, user: str, address: str) -> dict[str, int]:
    """Return how many wrong passwords one Airflow is asked about in a window.

    Few come from one address, so that guesses from elsewhere do not shut a user out. Many are allowed for a
    user from everywhere, and from an address at which another Airflow accepts everybody."""
    # Airflow may take a name in any case for the same user: guesses at all of them are counted together.
    name = user.casefold()
    return {
        f"user {name} of {deployment} from {address}": FAILURES,
        f"user {name} of {deployment}": MOST_FAILURES,
        f"users of {deployment} from {address}": MOST_FAILURES,
    }


def _current(now: ReadableNow) -> AllowedDags:
    """Return what a reader may read who goes on along the log.
    Raises AirflowError if Airflow has not been asked about a new DAG."""
    if not now.is_current:
        raise AirflowError("the log has a new DAG, and Airflow cannot be asked now whether you may read it")
    return now.allowed_dags
