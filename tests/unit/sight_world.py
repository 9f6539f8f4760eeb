"""One monitor for two Airflows whose log is filled event by event, and a reader of some DAGs.

What the reader may read is the same in every world of a history; the rest is another in each. The numbers
of the log and of the tables are moved to the same place before each thing that the reader may see, because
gaps between them are what a reader can count (docs/threat-model.md). Whatever else differs is a leak.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import NAMESPACE_URL, uuid5

import httpx
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import JSON, Boolean, Connection, Table, insert, text, update
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from monitor.app import assemble
from monitor.concurrency import end
from monitor.database import schema
from monitor.database.types import UtcDateTime
from monitor.event_log.deployments import origin_of
from monitor.events.event import parse_event
from monitor.events.reports import FROM_REST
from monitor.notifications import incident_transitions, incidents, silences
from monitor.notifications.incidents import IncidentFilter
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.records import State
from monitor.rules.model import Match
from monitor.settings import Settings
from monitor.settings_values import AirflowSettings
from monitor.web.auth import tokens
from monitor.web.auth.permissions import RIGHTS_SECONDS
from monitor.web.auth.tokens import Draft, Owner, Scope
from monitor.web.routes import mount
from tests.sample import START, asset_event, event, moment, run_event, task_event
from tests.unit.conftest import NOW, FakeClock, migrated, sign
from tests.unit.web_support import MONITOR_USER, SignInAirflow, with_sign_in

DEPLOYMENTS = ("local", "other")
DAGS = ("alpha", "beta", "gamma")
"""In both Airflows: who reads one in the one does not read its namesake in the other."""
MARK = "zzhid"
"""Begins every word that only what is hidden has."""
SHARED = ("s3://common/0", "s3://common/1")
"""Assets that DAGs of both kinds update."""
READER, PASSWORD = "alice", "alice's secret"
WORLDS = "ab"
"""Part of the names of what is hidden, in each world another."""
SECRETS = tuple(f"{MARK}{world}{number}" for world in WORLDS for number in range(2))
"""DAGs that the reader never reads."""
LATER = datetime.max.replace(tzinfo=NOW.tzinfo)
PATIENCE = 300.0  # seconds, with a stand-in on a machine that does other things too
STRIDE = 1_000  # between the places to which numbers are moved: more than any step takes
NUMBERED = (
    schema.incidents,
    schema.silences,
    schema.notifications,
    schema.decisions,
    schema.deliveries,
    schema.delivery_attempts,
    schema.tokens,
)

T = TypeVar("T")
Raw = dict[str, Any]
"""An event, as it is sent."""
Pair = tuple[str, str]
"""A deployment and a dag_id."""

RULES = f"""
rules:
  - name: runs
    match: {{type: "airflow.dag_run.*"}}
    notify_on: [every_failure, recovered, success]
    to: ops@example.com
    route: false
  - name: what watches find
    match: {{type: ["windsock.run.*", "windsock.asset.*"]}}
    notify_on: [every_failure, recovered]
    to: ops@example.com
    route: false
  - name: {MARK} names what is hidden
    match: {{dag_id: "{MARK}*"}}
    notify_on: [every_failure, recovered, success, notice]
    to: {MARK}@example.com
    route: false
"""
TOGETHER = (
    RULES
    + """
  - name: several
    match: {type: ["airflow.dag_run.failed", "airflow.task_instance.failed"]}
    notify_on: every_failure
    to: ops@example.com
    route: false
    group: {by: [deployment], wait: 30s}
  - name: assets
    match: {type: airflow.asset.updated}
    notify_on: notice
    to: ops@example.com
    route: false
"""
)
"""Rules by which a mail tells of several DAGs: whether a mail does is seen by those who may read one of them,
for whom that mail is hidden."""


@dataclass(frozen=True)
class Act:
    """Something that happens to a DAG, or is done about it by hand."""

    what: str
    dag: int
    number: int = 0


SEEN = (
    *("run", "failed", "failed", "running", "asset", "shared", "shared", "pause", "stuck", "unconsumed"),
    "auto paused",
)
BY_HAND = ("silence", "acknowledge", "close", "token")
UNSEEN = (*SEEN, *BY_HAND, "import error", "silence of many", "letter", "unhealthy")


@dataclass(frozen=True)
class Step:
    """What is hidden and happens first, in each world; and what the reader may see of it."""

    unseen: tuple[tuple[Act, ...], tuple[Act, ...]]
    seen: Act | None
    seconds: float = 1.0
    """Which pass first."""
    looks: bool = False
    """The reader looks at some pages, so that what was answered is remembered."""


@dataclass(frozen=True)
class History:
    """What happens, in two worlds that are one to the reader."""

    readable: frozenset[Pair]
    steps: tuple[Step, ...]
    lost: frozenset[Pair] = frozenset()
    """What the reader may read at first."""
    late: frozenset[Pair] = frozenset()
    """Of what is readable, what the reader may not read at first."""
    turns: int = 0
    """By how many places the surfaces' readers are turned."""
    live: bool = False
    """A feed is open from the first step on, where the reader's rights do not change."""
    sees_all: bool = False
    """The reader reads the rest too."""


@dataclass(frozen=True)
class Report:
    """What an Airflow reports of an act; `word` stands in all that people write."""

    act: Act
    dag_id: str
    word: str
    key: str
    """Tells one from others."""

    @property
    def number(self) -> int:
        return int(uuid5(NAMESPACE_URL, self.key).int % 10**12)

    @property
    def run(self) -> tuple[str, str, float]:
        """A namesake in the other Airflow has runs of the same ids, and so events."""
        word = "open" if self.dag_id in DAGS else self.word
        return self.dag_id, f"{word}__{self.act.number}", 10.0 * self.act.number

    @property
    def finding(self) -> dict[str, Any]:
        about = {"watch": "usual", "what": f"{self.word} is late", "since": moment(), "dag_id": self.dag_id}
        return about | {"reported_by": "monitor"}

    def running(self) -> list[Raw]:
        return [run_event("running", *self.run)]

    def ends(self) -> list[Raw]:
        return [*self.running(), run_event("success", *self.run)]

    def fails(self) -> list[Raw]:
        word, (dag_id, run_id, _) = self.word, self.run
        error = {
            "type": f"{word}Error",
            "message": f"it broke: {word}",
            "traceback": f"File {word}.py, line 1",
        }
        ti_id = str(uuid5(NAMESPACE_URL, self.key))
        host = f"{word}.example"
        return [
            *self.running(),
            task_event("failed", f"{word}_task", dag_id, run_id, ti_id, error=error, hostname=host),
            run_event("failed", *self.run, message=f"{word} says", conf={word: word}),
        ]

    def _updates(self, asset: dict[str, str], **extra: float) -> list[Raw]:
        source = {"source_dag_id": self.dag_id, "source_run_id": self.run[1], "source_task_id": "task"}
        return [asset_event(self.number, asset["uri"], asset=asset, extra=extra, **source)]

    def updates_own(self) -> list[Raw]:
        return self._updates(self._asset, **{self.word: self.act.number})

    def updates_shared(self) -> list[Raw]:
        asset = {"name": self.word, "uri": SHARED[self.act.number % 2], "group": self.word}
        return self._updates(asset, **{self.word: self.act.number, "accuracy": self.number / 10**12})

    @property
    def _asset(self) -> dict[str, str]:
        uri = f"file:///{self.word}/{self.act.number}"
        return {"name": f"{self.word}{self.act.number}", "uri": uri, "group": "asset"}

    def pauses(self) -> list[Raw]:
        state = "paused" if self.act.number % 2 else "unpaused"
        data = {"dag_id": self.dag_id, "state": state}
        return [event(f"airflow.dag.{state}", f"dag:{self.number}:{state}", self.dag_id, moment(), data)]

    def is_stuck(self) -> list[Raw]:
        dag_id, run_id, _ = self.run
        data = {"run_id": run_id, "start_date": moment(), "running_seconds": 60.0, "after_seconds": 30.0}
        return self._found("windsock.run.stuck", f"{dag_id}/{run_id}", data)

    def is_unconsumed(self) -> list[Raw]:
        data = {"asset": self._asset, "asset_event_id": self.number, "updated_at": moment()}
        return self._found("windsock.asset.unconsumed", self._asset["uri"], data | {"after_seconds": 30.0})

    def is_auto_paused(self) -> list[Raw]:
        data = {"failed_runs": 3, "is_certain": True, "remedy": f"{self.word} has to be mended"}
        return self._found("windsock.dag.auto_paused", self.dag_id, data)

    def is_unhealthy(self) -> list[Raw]:
        data = {"component": "scheduler", "status": "unhealthy", "after_seconds": 1.0}
        return self._found("airflow.component.unhealthy", "scheduler", data)

    def _found(self, kind: str, subject: str, data: dict[str, Any]) -> list[Raw]:
        found = event(kind, f"{kind}:{self.number}", subject, moment(), data)
        found["data"] |= self.finding
        return [found]

    def cannot_be_imported(self) -> list[Raw]:
        word, error_id = self.word, f"import_error:{self.number:032x}"
        data = {"filename": f"/dags/{word}.py", "bundle_name": word, "stacktrace": f"SyntaxError: {word}"}
        of = data | {"error_id": error_id}
        return [event("airflow.dag.import_error", error_id, data["filename"], moment(), of)]


REPORTS: dict[str, Callable[[Report], list[Raw]]] = {
    "run": Report.ends,
    "failed": Report.fails,
    "running": Report.running,
    "asset": Report.updates_own,
    "shared": Report.updates_shared,
    "pause": Report.pauses,
    "stuck": Report.is_stuck,
    "unconsumed": Report.is_unconsumed,
    "auto paused": Report.is_auto_paused,
    "import error": Report.cannot_be_imported,
    "unhealthy": Report.is_unhealthy,
}


def events_of(act: Act, pair: Pair, word: str, key: str) -> list[Raw]:
    made = REPORTS[act.what](Report(act, pair[1], word, key))
    return [{**one, "source": f"/airflow/{pair[0]}"} for one in made]


@dataclass
class StandIn(SignInAirflow):
    """Airflow names DAGs for each asset, of those that are hidden another number in each world, also none."""

    variant: int = 0

    def _nothing(self, request: Request) -> Response:
        if not request.url.path.endswith("/assets"):
            return super()._nothing(request)
        uri = request.query_params.get("uri_pattern") or ""
        others = [f"{MARK}{WORLDS[self.variant]}{n}" for n in range(2 * self.variant)]
        dags = others if uri == SHARED[1] else [*DAGS[:1], *others]
        tasks = [{"dag_id": dag, "task_id": f"of_{dag}"} for dag in dags]
        scheduled = [{"dag_id": dag} for dag in dags]
        row = {"uri": uri, "producing_tasks": tasks, "consuming_tasks": tasks, "scheduled_dags": scheduled}
        return JSONResponse({"assets": [row] if dags else [], "total_entries": len(dags)})


@dataclass
class Airflows:
    """The two stand-ins, of which each world begins anew."""

    of: dict[str, StandIn]

    def begin(self, variant: int) -> None:
        for airflow in self.of.values():
            airflow.variant = variant
            airflow.dags.clear()
            airflow.tokens.clear()
            airflow.passwords[READER] = PASSWORD
            airflow.dags[READER] = []
            airflow.dags[MONITOR_USER[0]] = [*DAGS, *SECRETS]

    def let_read(self, user: str, pairs: frozenset[Pair]) -> None:
        for name, airflow in self.of.items():
            airflow.dags[user] = sorted(dag for deployment, dag in pairs if deployment == name)


def settings_of(settings: Settings, airflows: Airflows, home: Path, url: str, rules: str) -> Settings:
    """A monitor of both Airflows. Its home has a migrated database, unless `url` names one."""
    home.mkdir()
    (home / "windsock.yaml").write_text(rules)
    if not url:
        (home / "windsock.db").write_bytes(migrated())
    user, password = MONITOR_USER
    second = AirflowSettings(
        url=airflows.of["other"].url,
        username=user,
        password=SecretStr(password),
        ingest_secret=(SecretStr("whsec_" + "b" * 43 + "="),),
    )
    changes = {"home": home, "airflows": {"other": second}, "database_url": url, "confirm_grace": 0}
    changes |= {"airflow_timeout": PATIENCE}
    changes |= {"session_secret": (SecretStr("one secret for all of the worlds"),), "port": 8090}
    return with_sign_in(settings, airflows.of["local"]).model_copy(update=changes)


@dataclass
class World:
    """One of a history's worlds: a monitor whose web, feed, delivery and log work in this very loop."""

    app: FastAPI
    settings: Settings
    clock: FakeClock
    airflows: Airflows
    variant: int
    client: httpx.AsyncClient
    step: int = 0

    def read(self, work: Callable[[Connection], T]) -> T:
        found: T = self.app.state.services.database.read_now(work)
        return found

    def write(self, work: Callable[[Connection], None]) -> None:
        self.app.state.services.database.write_now(work)

    async def take(self, events: Sequence[dict[str, Any]]) -> None:
        """As the plugin or the monitor's own comparison with Airflow reports them."""
        services = self.app.state.services
        own = [one for one in events if one["type"] in FROM_REST or one["data"]["reported_by"] == "monitor"]
        if own:
            await services.ingest.take([parse_event(one) for one in own])
        sent = [one for one in events if one not in own]
        if sent:
            deployment = sent[0]["source"].rpartition("/")[2]
            body = httpx.Request("POST", self.settings.url, json=sent).content.decode()
            secret = self.settings.ingest_secrets[deployment][0].get_secret_value()
            headers = sign(secret, body)
            answer = await self.client.post("/api/v1/events", content=body, headers=headers)
            assert answer.status_code < 300, answer.text
            assert not answer.json().get("rejected"), answer.text

    async def do(self, act: Act, pair: Pair, word: str, key: str) -> None:
        if act.what in REPORTS:
            events = events_of(act, pair, word, key)
            if act.what in ("asset", "shared"):
                events[0]["data"]["created_dagruns"] = self._begun(act, pair, word)
            await self.take(events)
        elif act.what == "letter":
            letter = EmailMessage(policy=SMTP)
            letter["Subject"], letter["Message-ID"] = f"{word}: of a task", f"<{key}@wrote.it>"
            letter.set_content(word)
            self.app.state.services.mailbox.file(letter.as_bytes(), [f"{word}@example.com"])
        else:
            self.write(lambda connection: self._by_hand(connection, act, pair, word))

    def _begun(self, act: Act, pair: Pair, word: str) -> list[dict[str, str]]:
        """Runs of the same DAG; of each second one, also of what is hidden: of those, how many is hidden."""
        own = [{"dag_id": pair[1], "run_id": f"asset__{word}", "state": "queued"}]
        number = 1 + self.variant if act.number % 2 else 0
        dag_id = f"{MARK}{WORLDS[self.variant]}0"
        return own + [{"dag_id": dag_id, "run_id": f"{dag_id}_{n}", "state": "queued"} for n in range(number)]

    def _by_hand(self, connection: Connection, act: Act, pair: Pair, word: str) -> None:
        now = self.clock()
        later = now + timedelta(days=1)
        if act.what == "silence":
            match = Match(deployment=(pair[0],), dag_id=(pair[1],), task_id=(f"{word}*",))
            silences.add(connection, match, f"{word} who silences", f"{word} why", now, later, now)
        elif act.what == "silence of many":
            silences.add(connection, Match(dag_id=(f"{MARK}*",)), word, f"{word} why", now, later, now)
        elif act.what == "token":
            draft = Draft(word, frozenset({Scope.READ}), frozenset({pair}))
            tokens.add(connection, draft, Owner(f"{word} who made it", frozenset({pair[0]})), now)
        else:
            wanted = IncidentFilter(state=incidents.OPEN, deployment=pair[0], dag_id=pair[1])
            for found in incidents.page(connection, 1, incident_filter=wanted):
                if act.what == "acknowledge":
                    incidents.acknowledge(connection, found.id, word, f"{word} note", now)
                else:
                    incident_transitions.close(connection, found.id, now, word, f"{word} end")

    async def settle(self) -> None:
        """Wait until nothing is due that is to be delivered."""
        services = self.app.state.services
        services.wakes.delivery.set()
        ends = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < ends:
            found = self.read(lambda connection: queries.deliveries(connection, 500))
            due = [one.next_attempt_at for one in found if one.state is State.PENDING]
            if min(due, default=LATER) > self.clock() and State.SENDING not in {one.state for one in found}:
                return
            await asyncio.sleep(0.005)
        raise AssertionError("deliveries are still due")

    def align(self) -> None:
        """Go on from the same numbers in each world."""
        self.step += 1
        self.write(lambda connection: _move(connection, self.step * STRIDE))


def _move(connection: Connection, place: int) -> None:
    connection.execute(update(schema.log_state).values(last_seq=place))
    for table in NUMBERED:
        connection.execute(insert(table).values(_filler(table, place)))
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {place})"))


def _filler(table: Table, place: int) -> dict[str, Any]:
    """A row of nobody's, of a DAG that is in no Airflow."""
    words: dict[str, Any] = {"kind": "opened", "channel": "email", "state": "sent", "dag_id": f"{MARK}filler"}
    words |= {"deployment": "local", "scopes": ["read"], "match": {}, "deployments": None, "outcome": "sent"}
    row: dict[str, Any] = {}
    for column in table.c:
        if column.name in words:
            row[column.name] = words[column.name]
        elif column.nullable:
            continue
        elif isinstance(column.type, JSON):
            row[column.name] = []
        elif isinstance(column.type, Boolean):
            row[column.name] = False
        elif isinstance(column.type, UtcDateTime):
            row[column.name] = NOW - timedelta(days=1)
        else:
            row[column.name] = place if column.type.python_type is int else f"{MARK}{table.name}{place}"
    if table is schema.incidents:
        row |= {"state": "closed", "closed_at": NOW - timedelta(days=1), "closed_because": MARK}
    return row | {"id": place}


HEADERS = {"Accept": "text/html", "X-Request-ID": "one"}
WORK = ("ingest", "feed", "feed readers", "delivery")
"""Of the background. The comparison with Airflow is left out: what it would find is given as events."""


@asynccontextmanager
async def world_of(settings: Settings, airflows: Airflows, variant: int) -> AsyncIterator[World]:
    clock = FakeClock(NOW)
    parts = assemble(settings, clock, {})
    app = FastAPI()
    app.state.services = parts.services
    mount(app, settings)
    database = parts.database

    def begin(connection: Connection) -> None:
        connection.execute(update(schema.log_state).values(epoch="0123abcd"))
        for deployment in DEPLOYMENTS:
            origin_of(connection, deployment, START)

    database.write_now(begin)
    airflows.begin(variant)
    work = [asyncio.ensure_future(parts.work[name]()) for name in WORK]
    async with AsyncExitStack() as leaving:
        transport = httpx.ASGITransport(app, client=("192.0.2.1", 4711))
        client = await leaving.enter_async_context(
            httpx.AsyncClient(
                transport=transport,
                base_url=settings.url,
                headers={"Accept": "text/html", "X-Request-ID": "one"},
            )
        )
        try:
            yield World(app, settings, clock, airflows, variant, client)
        finally:
            parts.services.feed_server.close()
            await end(reversed(work))
            await asyncio.gather(*(api.close() for api in parts.airflows))
            database.close()


class Reading(Protocol):
    """The reader, as a history needs one."""

    by: dict[str, dict[str, str]]

    async def sign_in(self) -> None: ...

    async def make_token(self, name: str) -> None: ...

    async def follow(self) -> "asyncio.Task[str]": ...

    async def get(self, path: str, who: str) -> httpx.Response: ...


async def play(world: World, history: History, reader: Reading) -> "asyncio.Task[str] | None":
    """Let it happen; answers the feed that is open meanwhile, if one is. The reader then has a session and
    tokens: one of the beginning, one of the end, and Airflow's."""
    readable = (
        frozenset((one, dag) for one in DEPLOYMENTS for dag in (*DAGS, *SECRETS))
        if history.sees_all
        else history.readable
    )
    world.airflows.let_read(READER, (readable - history.late) | history.lost)
    world.align()
    await reader.sign_in()
    await reader.make_token("early")
    changes = history.late or history.lost
    following = await reader.follow() if history.live and history.readable and not changes else None
    hidden = [(one, dag) for one in DEPLOYMENTS for dag in DAGS if (one, dag) not in history.readable]
    hidden += [(one, f"{MARK}{WORLDS[world.variant]}{number}") for one in DEPLOYMENTS for number in range(2)]
    own = sorted(history.readable)
    for number, step in enumerate((*history.steps, Step(((), ()), None, 61.0))):
        if number == len(history.steps) // 2:
            world.airflows.let_read(READER, readable)
        world.clock.forward(step.seconds)
        await world.settle()
        for place, act in enumerate(step.unseen[world.variant]):
            word = f"{MARK}{WORLDS[world.variant]}{act.number}"
            await world.do(act, hidden[act.dag % len(hidden)], word, f"{word} {number} {place}")
        await world.settle()
        world.align()
        if step.seen and own:
            await world.do(step.seen, own[step.seen.dag % len(own)], "open", f"open {number}")
            await world.settle()
        if step.looks:
            for path in ("/", "/api/v1/events", "/assets"):
                await reader.get(path, "cookie")
    world.clock.forward(RIGHTS_SECONDS + 1)
    await reader.sign_in()
    await reader.make_token("token")
    reader.by["jwt"] = {"Authorization": f"Bearer {world.airflows.of['local'].token(READER)}"}
    deployment, dag_id = (*own, hidden[0])[0]
    await world.take([{**run_event("running", dag_id, "the-end"), "source": f"/airflow/{deployment}"}])
    await world.settle()
    world.align()
    return following
