"""Every function of the project that takes text takes time that grows as its text does, whatever the text is.

Whatever is sent or read must not stop the event loop. The functions are found in the modules: those that need
texts and numbers alone are called as they are, and the others that read what comes from outside are listed
below. Each is fed with repetitions of signs, also of those that its own module names, and the slowest of them
are made longer: the bound is the ratio of two lengths' times, so that a slow machine fails nothing. Regular
expressions have a test of their own (test_regular_expressions.py).
"""

import gc
import importlib
import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.policy import SMTP
from pathlib import Path
from random import Random
from time import thread_time
from typing import Any

import pytest
from starlette.requests import Request

from monitor.airflow.task_logs import LogTail
from monitor.delivery.messages.links import SILENCE, Links
from monitor.delivery.messages.mime import Envelope, MessageText, message_of
from monitor.events.event import parse_event
from monitor.mail_addresses import SenderAddress
from monitor.observability.logging import Redactor
from monitor.observability.metrics import Metrics
from monitor.rules.model import Match
from monitor.rules.yaml_source import read as read_rules
from monitor.web.dependencies import bearer_of
from monitor.web.pages.forms import SilenceForm
from monitor.web.query_params import FeedQuery, RunsQuery
from monitor.web.security import _keep_own_cookies
from tests.sample import run_event, task_event
from tests.unit.conftest import NOW
from windsock_client import formats

ROOT = Path(__file__).parents[3]
PACKAGES = (
    (ROOT, "monitor"),
    (ROOT / "plugins", "airflow_windsock"),
    (ROOT / "client", "windsock_client"),
)
OF_OPERATORS = (
    *(f"monitor.cli.{name}" for name in ("admin", "backup", "main", "serve", "tokens", "typer_app", "up")),
    "monitor.database.migrations",
)
"""Packages that read nothing from outside: commands, and what they are given by whoever runs the monitor."""
NEEDS_AIRFLOW = ("airflow_windsock.listener",)
NO_PARSERS = {
    "monitor.cli.check._try_port": "opens a socket",
    "airflow_windsock.held_write.pwrite_releasing_gil": "writes to a file",
    "monitor.web.templating._environment": "of the monitor's own address",
    "monitor.web.templating.load_templates": "of the monitor's own address",
    "monitor.rules.yaml_source._compose": "listed below, as rules",
}
SLOW = {"rules"}  # takes 14 s
VALUES: dict[str, Any] = {"int": 80, "datetime": NOW}
"""What is given for a parameter that is no text."""
TEXTS = frozenset(("str", "bytes", "object", "str | None"))

SIGNS = (
    *"a0 .,;:-_/\\\"'<>&=@%*?[]{}()|#$~\n\r\t\b",
    "\x1b[",
    "é",
    "\u0301",
    "漢",
    "://",
    "\r\n",
    "0x",
    "${",
)
OWN_SIGNS = 8  # texts of a function's own module that join them
PAIRS = 25  # of two signs, chosen by chance: always the same ones
PROBE, SHORT, LONG = 1_000, 8_000, 64_000  # characters
SLOWEST = 2  # texts of each function that are made long
GROWTH = 3.0  # times what a linear function takes; a quadratic one takes 8 times that from SHORT to LONG
TRIES = 5  # of which the machine may disturb all but one
FAST = 0.01  # seconds: what is through with LONG by then holds nothing up, and clocks are coarse
SEED = 20261130


@dataclass(frozen=True)
class Parser:
    name: str
    apply: Callable[[str], object]
    signs: tuple[str, ...] = ()

    def seconds(self, text: str, rounds: int = 1) -> float:
        return min(self._once(text) for _ in range(rounds))

    def _once(self, text: str) -> float:
        began = thread_time()
        with suppress(Exception):  # most of these texts are refused
            self.apply(text)
        return thread_time() - began


@pytest.fixture(autouse=True, scope="module")
def _no_garbage_collection() -> Iterator[None]:
    """It looks at all that the other tests left, at whatever moment."""
    gc.disable()
    yield
    gc.enable()


def modules() -> Iterator[Any]:
    for folder, package in PACKAGES:
        for path in sorted((folder / package).rglob("*.py")):
            name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
            if not name.startswith(OF_OPERATORS) and name not in NEEDS_AIRFLOW:
                yield importlib.import_module(name)


def functions(module: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Its own functions, and what its classes have that needs no object. Without caches around them."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield from (
                (f"{name}.{own}", inspect.unwrap(getattr(value, own)))
                for own, kind in vars(value).items()
                if isinstance(kind, classmethod | staticmethod)
            )
        elif inspect.isfunction(function := inspect.unwrap(value)):
            yield name, function


def kinds(function: Callable[..., Any]) -> list[str]:
    """Of the parameters that it needs."""
    needed = (
        one
        for one in inspect.signature(function).parameters.values()
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    )
    return [
        getattr(one.annotation, "__name__", str(one.annotation))
        if inspect.isclass(one.annotation)
        else str(one.annotation)
        for one in needed
    ]


def found() -> Iterator[Parser]:
    for module in modules():
        for name, function in functions(module):
            needed = kinds(function)
            full = f"{module.__name__}.{name}"
            if inspect.iscoroutinefunction(function) or full in NO_PARSERS or not TEXTS & set(needed):
                continue
            if all(kind in TEXTS or kind in VALUES for kind in needed):
                yield Parser(full, _called(function, needed), _signs_of(function))


def _called(function: Callable[..., Any], needed: list[str]) -> Callable[[str], object]:
    def call(text: str) -> object:
        given = {**dict.fromkeys(TEXTS, text), "bytes": text.encode(), **VALUES}
        told = function(*(given[kind] for kind in needed))
        return list(told) if inspect.isgenerator(told) else told

    return call


def _signs_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """Short texts of its own code: what it looks for."""
    constants = function.__code__.co_consts
    return tuple(one for one in constants if isinstance(one, str) and 0 < len(one) <= 8)[:OWN_SIGNS]


def _mail(text: str) -> object:
    sender, envelope = (
        SenderAddress("w", "w@example.com"),
        Envelope("<1@example.com>", "a@example.com", "rule"),
    )
    return message_of(MessageText("subject", text, text), envelope, sender, "id", NOW).as_bytes(policy=SMTP)


def _chunks(text: str) -> Iterator[bytes]:
    raw = text.encode()
    return (raw[start : start + 64] for start in range(0, len(raw), 64))


def _log_tail(text: str) -> object:
    tail = LogTail(30)
    for piece in _chunks(text):
        tail.take(piece)
    return tail.text()


def _client_feed(text: str) -> object:
    return list(formats.server_sent_events(formats.lines(_chunks(text)), "", lambda _seconds: None))


def _many_fields(text: str) -> object:
    event = run_event()
    return parse_event({**event, "data": {**event["data"], **dict.fromkeys(map(str, range(len(text))))}})


def _request(name: str, value: str) -> Request:
    raw = _keep_own_cookies([(name.encode(), value.encode())])
    return Request({"type": "http", "headers": raw})


def _cookies(text: str) -> object:
    return _request("cookie", text).cookies


LINKS = Links("http://127.0.0.1", ["a key of the tests' own"], lambda: NOW)
REDACTOR = Redactor(["a secret of the tests", "another"])
METRICS = Metrics()
LISTED = (
    Parser("the log's redactor", REDACTOR, ("://", "@", "/links/silence/", "?")),
    Parser("a link's token", lambda text: LINKS.read(SILENCE, text), (".", "eyJ")),
    Parser(
        "rules", lambda text: read_rules(text, {}), ("- ", "a: ", "&a ", "*a", "? ", "{", "!!str ", "|\n")
    ),
    Parser("rules with variables", lambda text: read_rules(f"a: '{text}'", {"A": "b"}), ("${A}", "$${", "}")),
    Parser("a match", lambda text: Match.model_validate({"dag_id": [text], "type": text})),
    Parser("a match's list", lambda text: Match.model_validate({"tags": list(text)})),
    Parser("a feed's query", lambda text: FeedQuery.model_validate({"dag_id": [text], "since": text})),
    Parser(
        "a page's query",
        lambda text: RunsQuery.model_validate({"search": text, "since": text, "limit": text}),
    ),
    Parser("a silence's form", lambda text: SilenceForm.model_validate({"dag_id": text}).match(), (",",)),
    Parser("an event's field", lambda text: parse_event({**run_event(), "subject": text, "time": text})),
    Parser("an event's error", lambda text: parse_event(task_event("failed", error={"message": text}))),
    Parser("an event of many fields", _many_fields),
    Parser("a letter's text", _mail),
    Parser("JSON", json.loads, ("[", '{"a":', '"\\ud800",', "1e9")),
    Parser("cookies", _cookies, ('windsock_a="', "\\", "\\0")),
    Parser("a bearer token", lambda text: bearer_of(_request("authorization", f"Bearer {text}"))),
    Parser("a spool's header", lambda text: METRICS.spools.update("local", text), ("name=", "waiting=1;")),
    Parser("lines of a feed", lambda text: list(formats.lines(_chunks(text))), ("data: ", "\n\n")),
    Parser("a feed by the client", _client_feed, ("data: ", "data: {}\n\n", "retry: 1\n")),
    Parser("an ndjson feed", lambda text: list(formats.ndjson(formats.lines(_chunks(text)), "")), ("{}\n",)),
    Parser("a task's log", _log_tail, ('{"event": "a"}\n', "\x1b[0m")),
)
"""What reads text and needs more than that, each as it is used."""
PARSERS = (*found(), *LISTED)


@dataclass(frozen=True)
class Text:
    before: str
    pump: str
    after: str

    def of(self, length: int) -> str:
        return self.before + self.pump * (length // len(self.pump)) + self.after


def texts(parser: Parser) -> Iterator[Text]:
    signs = [*dict.fromkeys((*parser.signs, *SIGNS))]
    chance = Random(SEED)  # noqa: S311 (no secret)
    pairs = ["".join(chance.sample(signs, 2)) for _ in range(PAIRS)]
    for pump in (*signs, *pairs):
        yield Text("", pump, "")
        if pump in parser.signs or pump in pairs:
            yield Text("a", pump, "!\x00")


def check(parser: Parser) -> None:
    slowest = sorted(texts(parser), key=lambda text: -parser.seconds(text.of(PROBE)))[:SLOWEST]
    for text in slowest:
        bound = max(FAST, parser.seconds(text.of(SHORT), 3) * LONG / SHORT * GROWTH)
        tries = (parser.seconds(text.of(LONG)) for _ in range(TRIES))
        assert any(seconds < bound for seconds in tries), (
            f"{parser.name} takes too long over {text}, {LONG} of it"
        )


@pytest.mark.parametrize(
    "parser",
    [pytest.param(one, id=one.name, marks=[pytest.mark.slow] * (one.name in SLOW)) for one in PARSERS],
)
def test_takes_time_as_its_text_is_long(parser: Parser) -> None:
    check(parser)


def test_parsers_are_found() -> None:
    names = {one.name for one in PARSERS}
    assert len(names) > 200
    assert {"monitor.mail_addresses.SenderAddress.parse", "monitor.event_log.cursor.Cursor.parse"} <= names
    known = {f"{module.__name__}.{name}" for module in modules() for name, _ in functions(module)}
    assert set(NO_PARSERS) <= known, "a function of NO_PARSERS is there no more"


def _in_pieces(text: str) -> str:
    """Quadratic: looks through all that is left for each quote."""
    read = ""
    while '"' in text:
        before, _, text = text.partition('"')
        read += before
    return read + text


def _from_each_place(text: str) -> list[int]:
    return [text[at:].count("x") for at in range(0, len(text), 8)]


@pytest.mark.parametrize("quadratic", [_in_pieces, _from_each_place])
def test_a_quadratic_parser_is_found(quadratic: Callable[[str], object]) -> None:
    assert any(is_found(quadratic) for _ in range(TRIES)), "a busy machine hides it at most now and then"


def is_found(quadratic: Callable[[str], object]) -> bool:
    try:
        check(Parser("here", quadratic))
    except AssertionError as error:
        return "takes too long" in str(error)
    return False
