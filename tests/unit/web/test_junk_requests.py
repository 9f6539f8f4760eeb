"""Whatever a request holds: its answer is no fault of the server's, says what is wrong, bears the security
headers, and costs the event loop some milliseconds.

The routes and their parameters are the app's own, so a new one is covered. Costs are CPU time of the loop's
thread beside that of a plain loop in the same run, so that a slow machine fails nothing.
"""

import base64
import json
import socket
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from time import thread_time
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from starlette.routing import Mount

from monitor.settings_loading import load_settings
from monitor.web.http_protocol import MAX_HEADER, MAX_HEADERS, MAX_TARGET
from monitor.web.problems import CONTENT_TYPE
from monitor.web.security import HEADERS, MAX_FORM
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import LONG_AFTER, make_secret
from tests.unit.surfaces import BODIES, FORMS, Surface, surfaces
from tests.unit.web.auth.test_authenticator import ALICE
from tests.unit.web_support import (
    MONITOR_USER,
    Served,
    SignInAirflow,
    hidden,
    serving,
    try_to_sign_in,
    with_sign_in,
)

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
MAX_COST = 15.0  # times the plain loop, about 20 ms; what was quadratic took a hundred to thousands
LOOP = 100_000
TRIES = 3  # of which the machine may disturb two

ODD = (
    "%00",
    "%ed%a0%80",  # half a surrogate pair
    "-1",
    "9" * 30,
    "0001-01-01T00:00:00%2B14:00",
    "9999-12-31T23:59",
    "99999999w",
)
ODD_NAMES = ("%00", "%ed%a0%80", "%c2%b2", "9" * 30, "//[")  # in paths
ODD_JSON: tuple[Any, ...] = (
    *(None, -1, 10**30, [], {}, "\ud800", "\0"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "99999999w"),
)
ODD_HEADERS = {
    "Host": (b"", b"[", b"\xff", b"127.0.0.1:99999999"),
    "Origin": (b"http://[", b"//[::1", b"null", b"\xff"),
    "Cookie": (b"windsock_session=\xff", b"windsock_flash=a.b.c", b"windsock_form=\xff;;;=;", b"="),
    "X-CSRF-Token": (b"\xff", b""),
    "Authorization": (b"Bearer", b"Bearer \xff", b"Bearer wst_\xe9", b"Bearer a.W10.c", b"Basic \xff"),
    "If-None-Match": (b"*", b"\xff", b",,"),
    "Last-Event-ID": (b"", b"\xff", b"ffffffff-999999999999999999"),
    "Accept": (b"", b"\xff"),
    "Content-Type": (
        b"",
        b"\xff",
        b"multipart/form-data",
        b"multipart/form-data; boundary=\xff",
        b"application/json; charset=utf-16",
        b"application/x-www-form-urlencoded; charset=none",
        b"application/cloudevents-batch+json",
    ),
    "Range": (b"bytes=-", b"bytes=9-1", b"bytes=0-0,0-0"),
    "If-Modified-Since": (b"Mon, 99 Foo 99999 99:99:99 GMT",),
    "X-Forwarded-For": (b"\xff", b",,", b"[::1"),
    "X-Forwarded-Proto": (b"\xff", b"wss"),
    "X-Request-ID": (b"\xff",),
    "Webhook-Timestamp": (b"\xb2", b"9" * 5_000),
    "Expect": (b"x",),
    "Upgrade": (b"websocket",),
}
WITH_ODD_HEADERS = (
    "GET /",
    "GET /api/v1/runs",
    "GET /events",
    "GET /login",
    "POST /login",
    "POST /api/v1/events",
)
ODD_BODIES = (b"", b"\x00", b"\xff", b"=&=", b"null", b"{", b'{"a":1e400}', b'{"a":' + b"9" * 5_000 + b"}")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: httpx.Headers
    body: bytes


class Wire:
    """Sends bytes as they are: a client library would refuse many of these requests itself."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def ask(self, sent: bytes) -> Answer:
        """A feed is left once its head is there."""
        open_since_before = self._socket is not None
        try:
            return self._ask(sent)
        except (OSError, EOFError):  # the server ends a connection that it will not read on from
            self.close()
            if not open_since_before:
                raise
            return self._ask(sent)

    def _ask(self, sent: bytes) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        self._socket.sendall(sent)
        head, _, body = self._more(b"", lambda got: b"\r\n\r\n" in got).partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        headers = httpx.Headers(
            [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]
        )
        status = int(first.split(b" ")[1])
        length = headers.get("content-length")
        if length is not None and status != 304:
            body = self._more(body, lambda got: len(got) >= int(length))
        if length is None or headers.get("connection") == "close":
            self.close()
        return Answer(status, headers, body)

    def _more(self, got: bytes, is_enough: Any) -> bytes:
        assert self._socket is not None
        while not is_enough(got):
            part = self._socket.recv(65_536)
            if not part:
                raise EOFError
            got += part
        return got

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@dataclass
class House:
    """A monitor that knows who asks, with something to show, and the key of somebody who may read it."""

    monitor: Served
    wire: Wire
    key: dict[str, bytes]
    values: dict[str, str] = field(default_factory=dict)
    """Of each path's parameters."""

    def request(
        self,
        surface: Surface,
        path: str = "",
        query: str = "",
        body: bytes | None = None,
        headers: dict[str, bytes] | None = None,
        key: bool = True,
    ) -> bytes:
        path = path or surface.at(self.values)
        target = path + ("&" if "?" in path else "?") * bool(query) + query
        sent = {"Host": b"127.0.0.1", **(self.key if key else {})}
        if not surface.is_for_programs:
            sent["Accept"] = b"text/html"
        if surface.is_effect:
            body = _body(surface) if body is None else body
            sent["Content-Type"] = (JSON if surface.is_for_programs else FORM).encode()
            sent["Content-Length"] = str(len(body)).encode()
        lines = (
            b"%s: %s\r\n" % (name.encode(), value) for name, value in {**sent, **(headers or {})}.items()
        )
        first = f"{surface.method} {target} HTTP/1.1\r\n".encode()
        return first + b"".join(lines) + b"\r\n" + (body or b"")

    def path_with(self, surface: Surface, name: str, odd: str) -> str:
        """The path with an odd value, encoded as it is given, for one of its parameters."""
        marked = surface.at({**self.values, name: "ODD"})
        return marked.partition("?")[0].replace("ODD", odd)

    def check(self, what: str, sent: bytes) -> None:
        answer = self.wire.ask(sent)
        told = f"{what}: {answer.status} {answer.body[:300]!r}"
        assert answer.status < 500 or b"Airflow" in answer.body, told  # 503: this one tells of no logs
        if answer.status == 100:
            self.wire.close()
            return
        assert {name.lower() for name in HEADERS} <= set(answer.headers), told
        if answer.status >= 400:
            if answer.headers["content-type"] == CONTENT_TYPE:
                assert json.loads(answer.body)["detail"], told
            else:
                assert b"</main>" in answer.body, told


def _body(surface: Surface, **odd: Any) -> bytes:
    if surface.is_for_programs:
        return json.dumps({**BODIES.get(surface.name, {}), **odd}).encode()
    given = {name: quote(str(value)) for name, value in FORMS.get(surface.name, {}).items()} | odd
    return "&".join(f"{name}={value}" for name, value in given.items()).encode()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = load_settings(
        env_file=None,
        home=tmp_path_factory.mktemp("house"),
        port=0,
        ingest_secret=(SecretStr(make_secret()),),
        notification_email_to=("ops@example.com",),
        notify_max_age_hours=LONG_AFTER,
        trusted_proxies=("127.0.0.1",),
        auth="none",
    )
    with SignInAirflow().serving() as airflow:
        airflow.add(*ALICE, ["etl"])
        airflow.dags[MONITOR_USER[0]] = ["etl"]
        with serving(with_sign_in(settings, airflow)) as monitor:
            monitor.post([task_event("failed"), asset_event(1), run_event("failed")])
            with httpx.Client(base_url=monitor.url, headers={"Accept": "text/html"}) as browser:
                assert try_to_sign_in(browser, *ALICE).status_code == 303
                csrf = hidden("csrf", browser.get("/").text)
                cookie = browser.cookies["windsock_session"]
            key = {"Cookie": f"windsock_session={cookie}".encode(), "X-CSRF-Token": csrf.encode()}
            wire = Wire(monitor.port)
            yield House(monitor, wire, key, _values(monitor))
            wire.close()


def _values(monitor: Served) -> dict[str, str]:
    ids = dict.fromkeys(("delivery_id", "incident_id", "silence_id", "token_id"), "1")
    return ids | {
        "deployment": "local",
        "dag_id": "etl",
        "run_id": "manual__1",
        "task_id": "load",
        "map_index": "-1",
        "uri": "file:///model.pkl",
        "event_id": run_event("failed")["id"],
        "letter_id": f"{0:020}-{0:012x}",
        "name": "run_failed",
        "token": monitor.app.state.services.links.silence("local", "etl").rpartition("/")[2],
    }


def parameters(house: House) -> dict[str, list[tuple[str, str]]]:
    """Of each endpoint, by its name: where each of its parameters stands (query or body), and its name."""
    return {
        f"{method} {route.path}": list(_of(getattr(route.original_route, "dependant", None)))
        for route in iter_route_contexts(house.monitor.app.routes)
        if not isinstance(route.original_route, Mount)
        for method in route.methods or ()
    }


def _of(dependant: Dependant | None) -> Iterator[tuple[str, str]]:
    if dependant is None:
        return
    for place, given in (("query", dependant.query_params), ("body", dependant.body_params)):
        for one in given:
            fields = getattr(one.field_info.annotation, "model_fields", None)
            yield from ((place, name) for name in (fields or [one.alias]))
    for inner in dependant.dependencies:
        yield from _of(inner)


def staying(house: House) -> list[Surface]:
    """All but the one that ends the key."""
    return [surface for surface in surfaces(house.monitor.app) if surface.name != "POST /logout"]


def odd_requests(house: House, surface: Surface, place: str, name: str) -> Iterator[tuple[str, bytes]]:
    """Requests with an odd value of one parameter of the query or of the body."""
    if place == "query":
        yield "repeated", house.request(surface, query=f"{name}=1&" * 50)
        yield from ((odd, house.request(surface, query=f"{name}={odd}")) for odd in ODD)
    else:
        values = ODD_JSON if surface.is_for_programs else ODD
        yield from ((repr(odd), house.request(surface, body=_body(surface, **{name: odd}))) for odd in values)


@pytest.mark.slow
def test_no_odd_value_of_a_parameter_is_the_servers_fault(house: House) -> None:
    known = parameters(house)
    assert sum(map(len, known.values())) > 100, "the app's parameters are found no more"
    for surface in staying(house):
        for place, name in known[surface.name]:
            for odd, sent in odd_requests(house, surface, place, name):
                house.check(f"{surface.name}: {name} in the {place}, {odd}", sent)
    assert not house.monitor.fatal


def test_no_odd_name_in_a_path_and_no_odd_body_is_the_servers_fault(house: House) -> None:
    for surface in staying(house):
        for name, odd in product(surface.parameters, ODD_NAMES):
            sent = house.request(surface, house.path_with(surface, name, odd))
            house.check(f"{surface.name}: {name} {odd}", sent)
        for body in ODD_BODIES if surface.is_effect else ():
            house.check(f"{surface.name}: {body[:20]!r}", house.request(surface, body=body))
    assert not house.monitor.fatal


@pytest.mark.parametrize("name", WITH_ODD_HEADERS)
def test_no_odd_header_is_the_servers_fault(house: House, name: str) -> None:
    (surface,) = (one for one in surfaces(house.monitor.app) if one.name == name)
    for header, values in ODD_HEADERS.items():
        for value in values:
            sent = house.request(surface, headers={header: value})
            house.check(f"{header}: {value[:50]!r}", sent)


@pytest.mark.parametrize(
    "path",
    [
        "//",
        "/%00",
        "/\\",
        "*",
        "http://[/",
        "/static/%00",
        "/static/..%2f..",
        "/static/" + "a" * 5_000,
        "/%ff",
    ],
)
def test_no_odd_path_is_the_servers_fault(house: House, path: str) -> None:
    house.check(path, house.request(Surface("GET", "/"), path))
    house.check(path, house.request(Surface("POST", "/"), path))


def test_a_key_is_known_among_cookies_of_others(house: House) -> None:
    (runs,) = (one for one in surfaces(house.monitor.app) if one.name == "GET /api/v1/runs")
    cookies = b'other="\\054\\";' + house.key["Cookie"] + b"; another=a\\b"
    assert house.wire.ask(house.request(runs, headers={"Cookie": cookies})).status == 200


def bomb() -> str:
    """A link's token that nobody has signed: it would unpack to megabytes of JSON."""
    packed = zlib.compress(b"[" + b"0," * 2_500_000 + b"0]", 9)
    return "." + base64.urlsafe_b64encode(packed).decode().rstrip("=") + ".aaaaaa.aaaa"


def junk(house: House, surface: Surface) -> Iterator[tuple[str, bytes]]:
    """Requests without a key, each as long as the bounds let it be."""
    room = MAX_HEADER - 100
    query_room = MAX_TARGET - len(surface.at(house.values)) - 10
    heads = {
        "cookies of escapes": {"Cookie": b'windsock_flash="' + b"\\\\" * (room // 2) + b'"'},
        "many cookies": {"Cookie": b"windsock_a=;" * (room // 12)},
        "quotes": {"Content-Type": b"multipart/form-data; " + b'";' * (room // 2 - 10)},
        "lists": {"If-None-Match": b'"a",' * (room // 4), "Accept": b"text/html," * (room // 10)},
        "tokens": {"Authorization": b"Bearer " + b"a." * (room // 2), "Last-Event-ID": b"1-" * (room // 2)},
        "brackets": {"Origin": b"http://" + b"[" * room, "X-Forwarded-For": b"::1," * (room // 4)},
        "many headers": {f"X-{number}": b"a" * 200 for number in range(MAX_HEADERS - 8)},
    }
    for name, headers in heads.items():
        yield name, house.request(surface, headers=headers, key=False)
    yield "many parameters", house.request(surface, query="a&" * (query_room // 2), key=False)
    yield "escapes", house.request(surface, query="a=" + "%41" * (query_room // 3), key=False)
    for name in surface.parameters[:1]:
        for odd in ("%2e%2e%2f" * 800, bomb()):
            yield "a long path", house.request(surface, house.path_with(surface, name, odd), key=False)
    if surface.is_effect:
        for kind, piece in ((FORM, b"a=&"), (FORM, b"%41"), (JSON, b'{"a":'), (JSON, b"[0],")):
            typed = {"Content-Type": kind.encode()}
            body = piece * (MAX_FORM // len(piece))
            yield f"{kind} {piece!r}", house.request(surface, body=body, headers=typed, key=False)
        part = b"--a\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n"
        typed = {"Content-Type": b"multipart/form-data; boundary=a"}
        body = part * (MAX_FORM // len(part))
        yield "multipart", house.request(surface, body=body, headers=typed, key=False)


def cost(house: House, sent: bytes) -> float:
    """The loop's CPU time for this request, in times a plain loop's at the same moment."""
    began = thread_time()
    for _ in range(LOOP):
        pass
    unit = thread_time() - began
    before = house.monitor.loop_seconds()
    house.wire.ask(sent)
    return (house.monitor.loop_seconds() - before) / unit


@pytest.mark.slow
def test_a_request_without_a_key_costs_little(house: House) -> None:
    for surface in surfaces(house.monitor.app):
        for name, sent in junk(house, surface):
            house.check(f"{surface.name}: {name}", sent)
            costs = [cost(house, sent)]
            while costs[-1] > MAX_COST and len(costs) < TRIES:
                costs.append(cost(house, sent))
            assert min(costs) <= MAX_COST, f"{surface.name}: {name} costs the event loop {costs} loops"
