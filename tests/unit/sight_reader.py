"""The reader of a world: how this one is known, what is asked for, and what is answered."""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy import Connection
from starlette.types import Message

from monitor.delivery.channels.mailbox import parse_filed_id
from monitor.event_log import read as event_log_read
from monitor.event_log.filters import Filter
from monitor.event_log.projections import runs as runs_projection
from monitor.event_log.projections.assets import AssetName
from monitor.event_log.projections.runs import RunName, runs
from monitor.notifications import incidents, silences
from monitor.notifications.outbox import decisions, queries
from monitor.web.airflow_lookups import UNDER_WAY
from monitor.web.compression import unmask
from tests.unit.sight_world import MARK, PASSWORD, PATIENCE, READER, SHARED, Pair, World
from tests.unit.surfaces import BY_QUERY, Surface, surfaces
from tests.unit.web_support import hidden

NOT_ASKED = {
    "GET /events": "endless: read by itself",
    "GET /openapi.json": "made of the code alone",
    "GET /docs": "a page of the same",
}
"""Routes that the walk leaves out, and why."""
NOT_COMPARED = {
    "GET /metrics": "open: numbers of all that happens, which differ; it bears no name",
    "GET /readyz": "open: seconds since the monitor's own last write, by the machine's clock",
}
"""Routes whose answers may differ, and why: they too bear no word of what is hidden."""
QUERIES = (
    *("limit=1", "limit=2", "limit=1&cursor=3000", "cursor=1"),
    *("dag_id=*", "dag_id=alpha", f"dag_id={MARK}*", "deployment=local", "deployment=other"),
    *("type=*", "type=airflow.asset.*", "task_id=*", "run_id=*", f"run_id={MARK}*"),
    *("asset=*", f"asset={quote(SHARED[0], safe='')}", "run_type=manual", "map_index=0"),
    *("state=failed", "state=sent", "state=open", "state=closed", "active=true", "active=false"),
    *("kind=failure", "kind=recovered", "channel=email", "rule=runs", f"rule={MARK}", "event_id=x"),
    *("recipient=ops@example.com", f"recipient={MARK}@example.com", f"search={MARK}", "search=open"),
    *("since=2020-01-01T00:00:00Z", "until=2020-01-01T00:00:00Z", "whole_airflow=true"),
    *("incident_id=1001", "incident=1000000000"),
)
"""Filters and places, of which each surface is asked for those that it knows."""
ALWAYS: dict[str, object] = {"name": "run_failed", "token": "any", "task_id": "none", "map_index": -1}
"""Of paths' parameters, what names nothing of a DAG."""
OF_ALL = "deployment"
"""Names nothing by itself."""
LETTER = re.compile(r"\d{20}-[0-9a-f]{12}")
LETTER_ROW = re.compile(r'<li class="row letter".*?</li>', re.DOTALL)
MASKED = re.compile('name="csrf" value="([0-9a-f]+)"')
FORM = re.compile('name="csrf" value="[^"]*"')
SIGN_OF_LIFE = re.compile(rb'retry: \d+\n\n|: heartbeat\nid: \S+\n\n|\{"id": "[^"]*"\}\n')
NOT_SHOWN = ("etag", "content-length", "set-cookie")  # the first two follow from the body; the last is random


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: str

    @property
    def words(self) -> list[str]:
        """What it says of hidden things."""
        said = f"{self.headers}\n{self.body}"
        found = re.finditer(MARK, said, re.IGNORECASE)
        return [said[max(0, one.start() - 90) : one.end() + 40] for one in found]

    def difference(self, other: "Answer") -> tuple[str, str]:
        """Where two begin to differ."""
        one, two = (f"{each.status} {each.headers} {each.body}" for each in (self, other))
        at = next(
            (n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two))
        )
        return one[max(0, at - 100) : at + 80], two[max(0, at - 100) : at + 80]


Asked = tuple[str, str]
"""A path, and how the reader was known."""


@dataclass
class Visitor:
    """The reader, known by a session ("cookie"), by Windsock's tokens, and by Airflow's ("jwt")."""

    world: World
    by: dict[str, dict[str, str]] = field(default_factory=dict)
    """Headers, by how the reader is known."""
    opaque: dict[str, str] = field(default_factory=dict)
    """Random values, and what stands for each."""
    csrf: str = ""

    async def sign_in(self) -> None:
        client = self.world.client
        page = await client.get("/login")
        form = {"username": READER, "password": PASSWORD, "next": "/", "csrf": hidden("csrf", page.text)}
        answer = await client.post("/login", data=form)
        assert answer.status_code == 303, answer.text
        self.by["cookie"] = {"Cookie": f"windsock_session={client.cookies['windsock_session']}"}
        client.cookies.clear()
        self.csrf = hidden("csrf", (await self.get("/", "cookie")).text)
        self.opaque[self.csrf] = "CSRF"

    async def make_token(self, name: str) -> None:
        answer = await self.world.client.post(
            "/api/v1/tokens",
            json={"name": name, "scopes": ["read", "admin"]},
            headers=self.by["cookie"] | {"X-CSRF-Token": self.csrf},
        )
        assert answer.status_code == 201, answer.text
        made = answer.json()
        self.opaque |= {made["secret"]: f"SECRET {name}", made["prefix"]: f"PREFIX {name}"}
        self.by[name] = {"Authorization": f"Bearer {made['secret']}"}

    async def follow(self) -> "asyncio.Task[str]":
        """Open a feed of what is to come."""
        opened = asyncio.Event()
        following = asyncio.create_task(feed(self.world.app, "/events?dag_id=*", self.by["cookie"], opened))
        await opened.wait()
        return following

    async def get(self, path: str, who: str) -> httpx.Response:
        return await self.world.client.get(path, headers=self.by[who])

    async def ask(self, path: str, who: str, method: str = "GET", **sent: Any) -> Answer:
        client = self.world.client
        answer = await client.request(method, path, headers=self.by[who], **sent)
        client.cookies.clear()
        assert answer.status_code < 500, f"{path}: {answer.text}"
        if tag := answer.headers.get("etag"):
            # It says no more than the body does before its token is masked, and 304 no more than the tag.
            masked = MASKED.search(answer.text)
            text = answer.text.replace(masked[1], unmask(masked[1])) if masked else answer.text
            digests = hashlib.sha256(text.encode()), hashlib.blake2b(text.encode(), digest_size=16)
            assert tag.removeprefix("W/") in [f'"{one.hexdigest()[:32]}"' for one in digests], path
            if answer.status_code == 200 and path != "/login" and len(path) % 3 == 0:  # some are enough
                again = await client.get(path, headers=self.by[who] | {"If-None-Match": tag})
                assert (again.status_code, again.content) == (304, b""), path
        headers = [(name, value) for name, value in answer.headers.items() if name not in NOT_SHOWN]
        shown = tuple((name, self.shown(value)) for name, value in headers)
        return Answer(answer.status_code, shown, self.shown(answer.text))

    def shown(self, text: str) -> str:
        """The text without what is random in it."""
        for value, name in self.opaque.items():
            text = text.replace(value, name)
        text = LETTER.sub("LETTER", FORM.sub('name="csrf"', text))
        rows = iter(sorted(LETTER_ROW.findall(text)))
        return LETTER_ROW.sub(lambda _: next(rows), text)

    async def letters(self) -> list[str]:
        """Those of one moment, whose order is by chance, by what they say."""
        found = dict.fromkeys(LETTER.findall((await self.get("/mail", "cookie")).text))
        says = {one: self.shown((await self.get(f"/mail/{one}", "cookie")).text) for one in found}
        return sorted(found, key=lambda one: (one.partition("-")[0], says[one]))

    async def walk(self, readable: frozenset[Pair], turns: int, full: bool) -> dict[Asked, Answer]:
        """Ask every route, and the feed for all that there was, in both its forms. `full`: for each thing and
        with each filter."""
        letters: list[dict[str, object]] = [{"letter_id": one} for one in await self.letters()]
        own = [*Things.of(self.world, readable).own, *letters]
        for one in own:
            if "uri" in one:
                await self._know_lineage(AssetName(str(one["deployment"]), str(one["uri"])))
        found = {}
        for path, who in paths(self.world.app, own, turns, full):
            found[self.shown(path), who] = await self.ask(path, who)
        if readable:
            path = "/events?since=2020-01-01T00:00:00Z"
            for kind in ("text/event-stream", "application/x-ndjson"):
                headers = self.by["cookie"] | {"Accept": kind}
                found[path, kind] = Answer(200, (), await feed(self.world.app, path, headers))
        return found

    async def _know_lineage(self, name: AssetName) -> None:
        """Wait for Airflow's word on an asset, for which a page waits a moment only."""
        while await self.world.app.state.services.lineage.get("who waits", name) is UNDER_WAY:
            pass


async def feed(
    app: FastAPI, path: str, headers: Mapping[str, str], opened: asyncio.Event | None = None
) -> str:
    """What a feed sends up to the event of the run "the-end", without its signs of life, which say how far
    the log is."""
    said: list[bytes] = []
    done = asyncio.Event()
    path, _, query = path.partition("?")
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
    }
    scope |= {"scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    scope |= {"root_path": "", "headers": raw, "client": ("192.0.2.1", 4711), "server": ("127.0.0.1", 8090)}
    request = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> Message:
        for message in request:
            return message
        await done.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        said.append(message.get("body", b""))
        if said[-1] and opened:
            opened.set()
        ended = message["type"] == "http.response.body" and not message.get("more_body")
        if ended or b"the-end" in said[-1]:
            done.set()

    serving = asyncio.create_task(app(scope, receive, send))
    try:
        await asyncio.wait_for(done.wait(), PATIENCE)
    finally:
        done.set()
        await serving
    return SIGN_OF_LIFE.sub(b"", b"".join(said)).decode()


@dataclass
class Things:
    """What paths can name: of what the reader may read, and of the rest."""

    own: list[dict[str, object]] = field(default_factory=list)
    others: list[dict[str, object]] = field(default_factory=list)

    @classmethod
    def of(cls, world: World, readable: frozenset[Pair]) -> "Things":
        """As the database has them."""
        found = cls()

        def read(connection: Connection) -> None:
            for pair, values in (*_runs(connection), *_told(connection, readable), *_logged(connection)):
                some = found.own if pair in readable else found.others
                some.append({"deployment": pair[0], **values})

        def own_letters(connection: Connection) -> set[str | None]:
            own = [int(str(one["delivery_id"])) for one in found.own if "delivery_id" in one]
            return set(map(parse_filed_id, queries.answers(connection, own)))

        world.read(read)
        filed, box = world.read(own_letters), world.app.state.services.mailbox
        found.others += [{"letter_id": one.id} for one in box.mails(500) if one.id not in filed]
        return found


Thing = tuple[tuple[str, str | None], dict[str, object]]
"""Whose it is, and how paths name it."""


def _runs(connection: Connection) -> Iterator[Thing]:
    for run in runs(connection, 500):
        name = RunName(run["deployment"], run["dag_id"], run["run_id"])
        tasks = [row["task_id"] for row in runs_projection.tasks(connection, name)]
        values = {"dag_id": name.dag_id, "run_id": name.run_id, "map_index": -1}
        yield (name.deployment, name.dag_id), values | {"task_id": (tasks or ["none"])[0]}


def _told(connection: Connection, readable: frozenset[Pair]) -> Iterator[Thing]:
    for one in queries.deliveries(connection, 500):
        decided = decisions.decisions_of_notification(connection, one.notification_id)
        pairs = [(one.deployment, one.dag_id), *((each.deployment, each.dag_id) for each in decided)]
        of_others = [pair for pair in pairs if pair not in readable]
        yield (of_others or pairs)[0], {"delivery_id": one.id}
    for incident in incidents.page(connection, 500):
        yield (incident.deployment, incident.dag_id), {"incident_id": incident.id}
    for silence in silences.page(connection, 500):
        yield (silence.deployment or "", silence.dag_id), {"silence_id": silence.id}


def _logged(connection: Connection) -> Iterator[Thing]:
    for logged in event_log_read.read_before(connection, None, 500, Filter()):
        body = json.loads(logged.body)
        data = body["data"]
        pair = body["source"].rpartition("/")[2], data.get("dag_id") or data.get("source_dag_id")
        yield pair, {"event_id": body["id"]}
        if "asset" in data:
            yield pair, {"uri": data["asset"]["uri"], "asset": data["asset"]["uri"]}


def needs(surface: Surface) -> set[str]:
    """What its path or its query has to name."""
    return {*surface.parameters, *BY_QUERY.get(surface.path, ())}


def filters(app: FastAPI) -> dict[str, set[str]]:
    """The query parameters that each path knows."""
    found: dict[str, set[str]] = {}
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route.original_route, "dependant", None)
        for parameter in dependant.query_params if dependant else ():
            names = getattr(parameter.field_info.annotation, "model_fields", [parameter.alias])
            found.setdefault(str(route.path), set()).update(names)
    return found


def paths(app: FastAPI, own: list[dict[str, object]], turns: int, full: bool) -> Iterator[Asked]:
    """Each surface, for the oldest and the newest thing that it can name, and with three of the filters that
    it knows; `turns` chooses the filters, and how the reader is known."""
    turn, known = count(turns), filters(app)
    for surface in surfaces(app):
        if surface.is_effect or surface.name in NOT_ASKED:
            continue
        needed = needs(surface)
        named = [
            one for one in own if needed <= (ALWAYS | one).keys() and needed & one.keys() - {"deployment"}
        ]
        found = [surface.at(ALWAYS | one) for one in named]
        if needed <= ALWAYS.keys():
            found.append(surface.at(ALWAYS))
        few_assets = surface.path == "/api/v1/assets/updates"
        asked = list(dict.fromkeys(found if full or few_assets else found[:1] + found[-1:]))
        if found:
            chosen = [one for one in QUERIES if one.partition("=")[0] in known.get(surface.path, ())]
            if chosen and not full:
                chosen = [chosen[next(turn) % len(chosen)] for _ in range(3)]
            asked += [f"{found[0]}{'&' if '?' in found[0] else '?'}{query}" for query in chosen]
        who = ("cookie", "token", "early", "jwt") if surface.is_for_programs else ("cookie", "early")
        for path in asked:
            yield path, who[next(turn) % len(who)]
