"""What each signed-in user may read, as Airflow last said; asked anew every minute."""

import hashlib
from asyncio import Lock, gather
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from monitor.clock import Clock
from monitor.errors import AirflowError, AirflowRefused

RIGHTS_SECONDS = 60  # how long what Airflow said of a user's DAGs is taken as said
STALE_SECONDS = 600  # how long it still counts while Airflow cannot be reached
MAX_TOKENS = 2_000  # tokens whose rights are remembered: sessions and programs

T = TypeVar("T")

Dags = frozenset[tuple[str, str]]
"""(deployment, dag_id) pairs, as event_log.Visible has them."""


class SignInApi(Protocol):
    """What sign-in needs of Airflow. Both raise AirflowRefused, or AirflowError where it cannot be asked."""

    async def sign_in(self, username: str, password: str) -> str:
        """The user's token."""
        ...

    async def readable_dags(self, token: str) -> set[str]:
        """The DAGs that the token's user may read."""
        ...

    async def may_read(self) -> int:
        """How many DAGs the monitor's own user may read."""
        ...


@dataclass
class _Known:
    asking: Lock = field(default_factory=Lock)
    dags: Dags | None = None
    asked: datetime | None = None
    answered: datetime | None = None


class ReadableDags:
    """The DAGs behind each token."""

    def __init__(self, deployment: str, airflow: SignInApi, clock: Clock) -> None:
        self._deployment = deployment
        self._airflow = airflow
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def of(self, token: str) -> Dags:
        """What the token's user may read. Raises AirflowRefused, or another AirflowError."""
        key = hashlib.sha256(token.encode()).hexdigest()
        known = self._known.setdefault(key, _Known())
        self._known.move_to_end(key)
        if len(self._known) > MAX_TOKENS:
            self._known.popitem(last=False)
        async with known.asking:  # one question at a time for a token, however many feeds it has open
            if known.dags is None or self._age(known.asked) >= RIGHTS_SECONDS:
                known.dags = await self._ask(key, token, known)
            return known.dags

    async def _ask(self, key: str, token: str, known: _Known) -> Dags:
        try:
            dags = await self._airflow.readable_dags(token)
        except AirflowRefused:
            self._known.pop(key, None)
            raise
        except AirflowError:
            if known.dags is None or self._age(known.answered) >= STALE_SECONDS:
                raise
            known.asked = self._clock()  # the next one does not wait for Airflow's silence again
            return known.dags
        known.asked = known.answered = self._clock()
        return frozenset((self._deployment, dag) for dag in dags)

    def _age(self, moment: datetime | None) -> float:
        return (self._clock() - moment).total_seconds() if moment else float("inf")


class EveryDag:
    """How many DAGs the monitor's own users may read, over all Airflows."""

    def __init__(self, airflows: Mapping[str, SignInApi], clock: Clock) -> None:
        self._airflows = airflows
        self._clock = clock
        self._asking = Lock()
        self._asked: datetime | None = None
        self._answer: int | str = 0
        """The number, or why it is not known."""

    async def number(self) -> int:
        """Raises AirflowError where one could not be asked, for a while without asking again: pages wait for
        this, and an Airflow that is away answers slowly."""
        async with self._asking:
            age = (self._clock() - self._asked).total_seconds() if self._asked else float("inf")
            if age >= RIGHTS_SECONDS:
                self._answer = await self._ask()
                self._asked = self._clock()
        if isinstance(self._answer, str):
            raise AirflowError(self._answer)
        return self._answer

    async def _ask(self) -> int | str:
        try:
            return sum(await gather(*(api.may_read() for api in self._airflows.values())))
        except AirflowError as error:
            return str(error)


class Rights:
    """Every deployment's word on a user: what one lets the user read, no other can take away or add to."""

    def __init__(self, airflows: Mapping[str, SignInApi], clock: Clock) -> None:
        self._airflows = airflows
        self._every = EveryDag(airflows, clock)
        self._dags = {name: ReadableDags(name, api, clock) for name, api in airflows.items()}

    async def sign_in(self, user: str, password: str) -> dict[str, str]:
        """The user's tokens, by deployment: of each Airflow that knows this name and password.

        Raises AirflowRefused where none does, AirflowError where none could be asked.
        """
        return await _those_that_answer(
            {name: api.sign_in(user, password) for name, api in self._airflows.items()}
        )

    async def of(self, tokens: Mapping[str, str]) -> Dags:
        """What the owner of these tokens may read. Raises AirflowRefused where every one has ended, another
        AirflowError where nobody could be asked."""
        asked = {name: self._dags[name].of(token) for name, token in tokens.items()}
        return frozenset[tuple[str, str]]().union(*(await _those_that_answer(asked)).values())

    async def every(self) -> int:
        """How many DAGs the monitor's own users may read. Raises AirflowError where one cannot be asked."""
        return await self._every.number()


async def _those_that_answer(asked: Mapping[str, Awaitable[T]]) -> dict[str, T]:
    """Ask side by side. Raises AirflowRefused where nobody answered and one refused, else the first error."""
    answers = await gather(*asked.values(), return_exceptions=True)
    given: dict[str, T] = {}
    errors: list[AirflowError] = []
    for name, answer in zip(asked, answers, strict=True):
        if isinstance(answer, AirflowError):
            errors.append(answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            given[name] = answer
    if errors and not given:
        raise next((error for error in errors if isinstance(error, AirflowRefused)), errors[0])
    return given
