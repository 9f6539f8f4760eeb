"""The DAGs that each signed-in user may read, as Airflow answers.

An answer counts for a minute, and only while the log has no DAG that is newer than the answer. Such a DAG
may be the user's, and a feed that skips its events would never report them.

"May read every DAG" is a comparison of two sets. The DAGs of the monitor's own user are asked for no
earlier than the DAGs of the user in question.

Queries leave out what a reader may not read by `readable` and `may_read` (event_log/filters.py).
"""

import asyncio
import hashlib
from asyncio import Lock, gather
from collections import OrderedDict
from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import Protocol, TypeVar

from monitor.clock import Clock
from monitor.errors import AirflowError, AirflowRefused
from monitor.event_log.deployments import LoggedDags
from monitor.event_log.filters import AllowedDags

RIGHTS_SECONDS = 60  # how long Airflow's answer about a user's DAGs counts
STALE_SECONDS = 600  # how long it still counts while Airflow cannot be reached
PAUSE_SECONDS = 0.5  # between two questions for one token: new DAGs come in numbers, when a file is deployed
RETRY_SECONDS = 5  # until an Airflow that could not answer is asked about a new DAG again: pages wait for it
MAX_TOKENS = 2_000  # tokens whose rights are remembered: sessions and programs

T = TypeVar("T")


class SignInApi(Protocol):
    """The part of Airflow's API that sign-in needs.
    Each method raises AirflowRefused, or AirflowError if Airflow cannot be asked."""

    async def sign_in(self, username: str, password: str) -> str:
        """Return the user's token."""
        ...

    async def readable_dags(self, token: str | None = None) -> set[str]:
        """Return the DAGs that the token's user, or the monitor's own user, may read."""
        ...


@dataclass(frozen=True)
class SignInAnswers:
    """The answers of the Airflows to a name and password, by deployment."""

    tokens: dict[str, str]
    """The tokens of the Airflows that accepted the user."""
    errors: dict[str, AirflowError]
    """The errors of the others: AirflowRefused, or why an Airflow could not be asked."""

    def refused(self, deployment: str) -> bool:
        """Return True if this deployment's Airflow refused."""
        return isinstance(self.errors.get(deployment), AirflowRefused)


@dataclass(frozen=True)
class ReadableNow:
    """The DAGs that a user may read, over all Airflows."""

    allowed_dags: AllowedDags
    seq: int
    """The place in the log up to which this decides: a later event may be of a DAG that is newer."""
    is_current: bool
    """False: the log had a newer DAG before the question, and Airflow cannot be asked about it now."""
    dags: Mapping[str, frozenset[str]]
    """The DAGs that each Airflow that answered shows the user, by deployment."""
    whole: frozenset[str]
    """The deployments of which the user may read every DAG."""
    refused: frozenset[str]
    """The deployments whose Airflows do not know the user any more."""


@dataclass(frozen=True)
class _Answer:
    """The answer of one Airflow about one user."""

    dags: frozenset[str]
    every: frozenset[str] | None
    """The DAGs of the monitor's own user, if this user may read all of them."""
    version: int
    """The version of the deployment's DAGs in the log at the time of the question."""
    seq: int
    answered: datetime


@dataclass
class _TokenState:
    """The questions about one token."""

    lock: Lock = field(default_factory=Lock)
    answer: _Answer | None = None
    at: datetime | None = None
    """The moment at which Airflow was last asked, with or without success."""
    began: float = -inf
    """The same by the loop's clock, as the question was sent."""
    has_failed: bool = False

    @property
    def is_put_off(self) -> bool:
        return self.has_failed and asyncio.get_running_loop().time() - self.began < RETRY_SECONDS


class EveryDag:
    """The DAGs that the monitor's own user may read in one Airflow."""

    def __init__(self, airflow: SignInApi, clock: Clock) -> None:
        self._airflow = airflow
        self._clock = clock
        self._lock = Lock()
        self._began = -inf
        self._answered: datetime | None = None
        self.last: frozenset[str] = frozenset()
        """The last answer. Empty before the first."""

    @property
    def age(self) -> float:
        """The seconds since the last answer."""
        return _age(self._clock, self._answered)

    async def fetch_since(self, began: float) -> frozenset[str]:
        """Return an answer to a question that was asked at this moment of the loop's clock or later."""
        async with self._lock:
            if self._began < began:
                sent = asyncio.get_running_loop().time()
                self.last = frozenset(await self._airflow.readable_dags())
                self._began, self._answered = sent, self._clock()
            return self.last


class ReadableDags:
    """The DAGs that each token's user may read in one Airflow."""

    def __init__(self, deployment: str, airflow: SignInApi, clock: Clock, logged: LoggedDags) -> None:
        self._deployment = deployment
        self._airflow = airflow
        self._clock = clock
        self._logged = logged
        self._every = EveryDag(airflow, clock)
        self._states: OrderedDict[str, _TokenState] = OrderedDict()

    def knows(self, token: str) -> bool:
        """Return True if Airflow has accepted this token before."""
        state = self._states.get(_key(token))
        return state is not None and state.answer is not None

    async def fetch(self, token: str, anew: bool = False) -> tuple[_Answer, bool]:
        """Return the answer, and whether it knows every DAG that the log had at the time of this call.

        `anew` asks Airflow, whatever is remembered. A remembered answer then does not stand in. Raises
        AirflowRefused, or another AirflowError."""
        key = _key(token)
        state = self._states.setdefault(key, _TokenState())
        self._states.move_to_end(key)
        if len(self._states) > MAX_TOKENS:
            self._states.popitem(last=False)
        called, version = asyncio.get_running_loop().time(), self._logged.version_of(self._deployment)
        async with state.lock:  # one question at a time for a token, however many feeds it has open
            answer = state.answer
            if (
                answer is None
                or _age(self._clock, state.at) >= RIGHTS_SECONDS
                or (answer.version < version and not state.is_put_off)
                or (anew and state.began < called)
            ):
                answer = await self._ask(key, token, state, anew)
            return answer, answer.version >= version

    @property
    def shows_any(self) -> bool:
        """True if the monitor's own user may read any DAG."""
        return bool(self._every.last)

    def decides_upto(self, answer: _Answer) -> int:
        """Return the place in the log up to which no event is of a DAG that is newer than this answer."""
        is_latest = answer.version == self._logged.version_of(self._deployment)
        return self._logged.seq if is_latest else answer.seq

    async def _ask(self, key: str, token: str, state: _TokenState, anew: bool) -> _Answer:
        loop = asyncio.get_running_loop()
        if state.answer is not None and _age(self._clock, state.at) < RIGHTS_SECONDS:  # before its time
            await asyncio.sleep(max(0.0, state.began + PAUSE_SECONDS - loop.time()))
        state.began, state.has_failed = loop.time(), False
        version, seq, before = self._logged.version_of(self._deployment), self._logged.seq, state.answer
        try:
            dags = frozenset(await self._airflow.readable_dags(token))
        except AirflowRefused:
            self._states.pop(key, None)
            raise
        except AirflowError:
            # The next one does not wait for its silence again.
            state.at, state.has_failed = self._clock(), True
            if anew or before is None or _age(self._clock, before.answered) >= STALE_SECONDS:
                raise
            return before
        if before is not None:
            self._logged.forget((self._deployment, dag) for dag in before.dags - dags)
        every = await self._every_of(dags, before, version, state.began, anew)
        state.at = self._clock()
        state.answer = _Answer(dags, every, version, seq, state.at)
        return state.answer

    async def _every_of(
        self, dags: frozenset[str], before: _Answer | None, version: int, began: float, anew: bool
    ) -> frozenset[str] | None:
        """Return all that the monitor's own user may read, if these DAGs include it.

        A no may come from the list of a moment ago, or each reader of few DAGs would have it read anew.
        """
        every = self._every
        was_every = before is not None and before.every is not None
        is_recent = every.age < RIGHTS_SECONDS
        if is_recent and not (was_every or anew or every.last <= dags):
            return None
        try:
            listed = await every.fetch_since(began)
        except AirflowError:
            # An administrator still is one for a while, unless there is something that speaks against it.
            if anew or before is None or not before.dags <= dags or before.version != version:
                return None
            return before.every if every.age < STALE_SECONDS else None
        # An Airflow whose list is empty has no DAGs yet. If the log has some of it, the list is not believed.
        is_believed = bool(listed) or not self._logged.has_any(self._deployment)
        return listed if listed <= dags and is_believed else None


class Rights:
    """The answers of all Airflows together.
    No Airflow adds to or takes from what another lets a user read."""

    def __init__(self, airflows: Mapping[str, SignInApi], clock: Clock, logged: LoggedDags) -> None:
        self._airflows = airflows
        self._dags = {name: ReadableDags(name, api, clock, logged) for name, api in airflows.items()}
        self.logged = logged

    async def sign_in(self, user: str, password: str, deployments: Collection[str]) -> SignInAnswers:
        """Ask these deployments' Airflows, side by side, whether they know this name and password."""
        sign_ins = {name: self._airflows[name].sign_in(user, password) for name in deployments}
        return SignInAnswers(*await _answers_of(sign_ins))

    def knows(self, tokens: Mapping[str, str]) -> bool:
        """Return True if each of these tokens was accepted before."""
        return all(self._dags[name].knows(token) for name, token in tokens.items())

    def shows_any(self, deployment: str) -> bool:
        """Return True if the monitor's own user may read any DAG of this deployment, as far as asked."""
        return self._dags[deployment].shows_any

    async def fetch(self, tokens: Mapping[str, str], anew: bool = False) -> ReadableNow:
        """Return what the owner of these tokens may read.
        Each token is shown to its own Airflow only. An Airflow that is no longer configured counts as one
        that refuses.

        Raises AirflowRefused if every token has ended, and another AirflowError if no Airflow could be
        asked."""
        requests = {
            name: self._dags[name].fetch(token, anew) for name, token in tokens.items() if name in self._dags
        }
        results, errors = await _answers_of(requests)
        if not results:
            raise first_of(errors.values())
        answers = {name: answer for name, (answer, _) in results.items()}
        dags = frozenset((name, dag) for name, answer in answers.items() for dag in answer.dags)
        lists = [answers[name].every if name in answers else None for name in self._airflows]
        reads_every = any(lists) and all(every is not None for every in lists)
        return ReadableNow(
            allowed_dags=None if reads_every else dags,
            seq=min(self._dags[name].decides_upto(answer) for name, answer in answers.items()),
            is_current=all(is_current for _, is_current in results.values()),
            dags={name: answer.dags for name, answer in answers.items()},
            whole=frozenset(name for name, answer in answers.items() if answer.every is not None),
            refused=frozenset(tokens.keys() - requests.keys()).union(
                name for name, error in errors.items() if isinstance(error, AirflowRefused)
            ),
        )


def first_of(errors: Collection[AirflowError]) -> AirflowError:
    """Return the one to raise: a refusal before any other."""
    refused = [error for error in errors if isinstance(error, AirflowRefused)]
    return next(iter([*refused, *errors]), AirflowRefused("no Airflow of this user is configured any more"))


async def _answers_of(requests: Mapping[str, Awaitable[T]]) -> tuple[dict[str, T], dict[str, AirflowError]]:
    """Ask in parallel. Return the answers, and the errors, by deployment."""
    answers = await gather(*requests.values(), return_exceptions=True)
    results: dict[str, T] = {}
    errors: dict[str, AirflowError] = {}
    for name, answer in zip(requests, answers, strict=True):
        if isinstance(answer, AirflowError):
            errors[name] = answer
        elif isinstance(answer, BaseException):
            raise answer
        else:
            results[name] = answer
    return results, errors


def _key(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _age(clock: Clock, moment: datetime | None) -> float:
    return (clock() - moment).total_seconds() if moment else inf
