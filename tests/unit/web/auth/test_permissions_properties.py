"""Whatever changes in Airflow and in the log, a reader sees what Airflow lets that user read: exactly of a
DAG that is new to the log, and within a minute of every other.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from monitor.database.engine import Database
from monitor.database.schema import events
from monitor.event_log.append import append
from monitor.event_log.deployments import LoggedDags
from monitor.events.event import parse_event
from monitor.web.auth import permissions
from monitor.web.auth.permissions import RIGHTS_SECONDS, Rights
from tests.examples import times
from tests.sample import run_event
from tests.unit.conftest import NOW, FakeClock

AIRFLOWS = ("local", "other")
USERS = ("chief", "alice")
ALONE = "alice, of the first Airflow alone"
"""Signed in where only the first Airflow accepted the password: in the other, the name is another person."""
READERS = {
    "chief": ("chief", AIRFLOWS),
    "alice": ("alice", AIRFLOWS),
    ALONE: ("alice", AIRFLOWS[:1]),
    "chief, of the first alone": ("chief", AIRFLOWS[:1]),
}
"""Each reader's name, and the Airflows that accepted it with its password."""
OWN = "the monitor"
DAGS = 3

LOST_THE_ONLY_DAG = [
    ("grant", "local", "chief", 0),
    ("grant", "local", OWN, 0),
    ("new", "other", "chief", 0),
    ("read", "local", "chief", 0),
    ("take", "other", "chief", 0),
    ("wait", "local", "chief", 0),
    ("wait", "local", "chief", 0),
]
"""The monitor's own user may read nothing of "other", and the reader loses the one DAG of it."""

numbers = count()
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ("grant", "grant", "take", "grant all", "log", "log", "new", "wait", "read", "read", "read")
        ),
        st.sampled_from((AIRFLOWS[0], *AIRFLOWS)),
        st.sampled_from((*USERS, OWN)),
        st.integers(0, DAGS - 1),
    ),
    min_size=6,
    max_size=25,
)


def every_dag(connection: Connection) -> set[tuple[str, str]]:
    """As the board has them, which is not kept here."""
    query = select(events.c.deployment, events.c.dag_id).distinct()
    return {(deployment, dag_id) for deployment, dag_id in connection.execute(query)}


@dataclass(frozen=True)
class State:
    """What held at a moment: a model of the rules, without a memory."""

    at: datetime
    readable: dict[tuple[str, str], frozenset[str]]
    """By Airflow and user."""
    logged: frozenset[str]
    """The Airflows that the log has events of."""

    def shown(self, reader: str, airflow: str) -> frozenset[str]:
        user, accepted = READERS[reader]
        return self.readable[airflow, user] if airflow in accepted else frozenset()

    def reads_every(self, reader: str) -> bool:
        own = {name: self.readable[name, OWN] for name in AIRFLOWS}
        is_believed = all(own[name] or name not in self.logged for name in AIRFLOWS)
        is_accepted = READERS[reader][1] == AIRFLOWS
        includes = all(own[name] <= self.shown(reader, name) for name in own)
        return any(own.values()) and is_believed and is_accepted and includes

    def includes(self, reader: str, airflow: str) -> bool:
        """Return True if the user reads all that the monitor's own user reads of one Airflow."""
        own, is_accepted = self.readable[airflow, OWN], airflow in READERS[reader][1]
        is_believed = bool(own) or airflow not in self.logged
        return is_accepted and is_believed and own <= self.shown(reader, airflow)

    def lets_read(self, reader: str, airflow: str, dag_id: str) -> bool:
        return self.reads_every(reader) or dag_id in self.shown(reader, airflow)


@dataclass
class World:
    """Two Airflows and a log; each example has deployments and DAGs of its own in one database."""

    database: Database
    name: str = field(default_factory=lambda: f"example_{next(numbers)}")
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW))
    readable: dict[tuple[str, str], set[str]] = field(
        default_factory=lambda: {(name, user): set() for name in AIRFLOWS for user in (*USERS, OWN)}
    )
    readers: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """Of each DAG in the log, by its Airflow, who has looked since its first event."""
    past: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.logged = LoggedDags(self.database, every_dag)
        airflows = {self.deployment(name): Api(self, name) for name in AIRFLOWS}
        self.rights = Rights(airflows, self.clock, self.logged)

    def deployment(self, airflow: str) -> str:
        return f"{airflow}_{self.name}"

    async def change(self, what: str, airflow: str, user: str, number: int) -> None:
        dag_id, dags = f"{self.name}_{number}", self.readable[airflow, user]
        if what == "grant":
            dags.add(dag_id)
        elif what == "take":
            dags.discard(dag_id)
        elif what == "grant all":
            dags |= self.readable[airflow, OWN]
        elif what == "wait":
            self.clock.forward(RIGHTS_SECONDS / 2)
        elif what == "log":
            await self.log(airflow, dag_id)
        elif what == "new":
            dags.add(dag_id)
            await self.log(airflow, dag_id)
        self.note()

    async def log(self, airflow: str, dag_id: str) -> None:
        raw = run_event(dag_id=dag_id, run_id=str(next(numbers)))
        event = parse_event(raw | {"source": f"/airflow/{self.deployment(airflow)}"})

        def write(connection: Connection) -> None:
            append(connection, [event], NOW)

        await self.database.write(write)
        self.readers.setdefault((airflow, dag_id), set())

    def note(self) -> None:
        readable = {key: frozenset(dags) for key, dags in self.readable.items()}
        logged = frozenset(airflow for airflow, _ in self.readers)
        self.past.append(State(self.clock(), readable, logged))

    def lately(self) -> list[State]:
        """What held at some moment of the last minute, the present last."""
        since = self.clock() - timedelta(seconds=RIGHTS_SECONDS)
        first = max(sum(state.at <= since for state in self.past) - 1, 0)
        return self.past[first:]

    def lists(self, reader: str, airflow: str, dag_id: str) -> bool:
        """Return True if the user may read this DAG by its name, not only as one of all."""
        user, accepted = READERS[reader]
        return airflow in accepted and dag_id in self.readable[airflow, user]

    def always_included(self, reader: str) -> bool:
        """Return True if at each moment of the last minute the user read all of each Airflow."""
        return all(state.includes(reader, name) for state in self.lately() for name in AIRFLOWS)

    async def check(self, user: str) -> None:
        await self.logged.catch_up()
        name_there, accepted = READERS[user]
        now = await self.rights.fetch({self.deployment(name): name_there for name in accepted})
        assert now.allowed_dags is None or {name for name, _ in now.allowed_dags} <= set(
            map(self.deployment, accepted)
        )
        for (airflow, dag_id), readers in self.readers.items():
            states = self.lately() if user in readers else self.past[-1:]
            readers.add(user)
            is_shown = now.allowed_dags is None or (self.deployment(airflow), dag_id) in now.allowed_dags
            allowed = {state.lets_read(user, airflow, dag_id) for state in states}
            # Each Airflow is asked by itself: what it answered may be of another moment of the last minute.
            if all(any(state.includes(user, name) for state in self.lately()) for name in AIRFLOWS):
                allowed.add(True)
            if not self.lists(user, airflow, dag_id) and not self.always_included(user):
                allowed.add(False)
            assert is_shown in allowed, (user, airflow, dag_id, now)


@dataclass
class Api:
    """One Airflow, as sign-in asks it: a user's token is the user's name."""

    world: World
    name: str

    async def sign_in(self, username: str, password: str) -> str:
        return username if password else ""

    async def readable_dags(self, token: str | None = None) -> set[str]:
        return set(self.world.readable[self.name, token or OWN])


async def play(world: World, played: list[tuple[str, str, str, int]]) -> None:
    world.note()
    for what, airflow, user, number in played:
        if what == "read":
            for each in READERS:
                await world.check(each)
        else:
            await world.change(what, airflow, user, number)
    for reader in READERS:
        await world.check(reader)


@settings(max_examples=times(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(played=steps)
@example(played=LOST_THE_ONLY_DAG)
def test_a_reader_sees_what_airflow_lets_that_user_read(
    database: Database, played: list[tuple[str, str, str, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(permissions, "PAUSE_SECONDS", 0)
        asyncio.run(play(World(database), played))
