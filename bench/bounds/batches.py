"""Requests of somebody who may report: batches, events, fields, depth, and what readers then get."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from bench.bounds.peers import MIB
from bench.bounds.requests import counted, opened, raw
from bench.bounds.stage import Strained, failed_run
from bench.bounds.trial import Trial
from monitor.bounded_json import MAX_VALUES
from monitor.events.event import MAX_DEPTH
from monitor.events.reports import MAX_EVENT
from monitor.web.api.ingest import MAX_BODY
from monitor.web.api.ingest_models import MAX_BATCH
from monitor.web.query_params import MAX_GLOBS, MAX_NAME, MAX_PAGE

SPACE = 2_000  # bytes of an event beside the text that makes it long
LONG = 240 * 1024
LONG_EVENTS = 320
SPOOLS = 1_000
GLOB = 380  # characters of a pattern: so many fill an address


def said(answer: httpx.Response) -> str:
    if answer.status_code != 202:
        return f"{answer.status_code} {answer.json()['detail'][:60]}"
    body = answer.json()
    return f"202, {body['accepted']} accepted, {body['rejected']} rejected"


def sized(monitor: Strained, length: int) -> str:
    """A batch of this many bytes."""
    events = [
        failed_run("quiet", f"{length}-{n}", message="é" * (LONG // 2)) for n in range(MAX_BODY // LONG)
    ]
    body = json.dumps(events, ensure_ascii=False).encode()
    return said(monitor.post(body[:-1] + b" " * (length - len(body)) + b"]"))


def values(monitor: Strained, number: int) -> str:
    event = failed_run("quiet", f"values-{number}")
    event["data"]["extra"] = "HERE"
    body = json.dumps([event]).encode()
    return said(monitor.post(body.replace(b'"HERE"', b"[" + b"0," * number + b"0]")))


def deep(monitor: Strained, levels: int) -> str:
    event = failed_run("quiet", f"deep-{levels}")
    event["data"]["extra"] = "HERE"
    nested = b"[" * levels + b"]" * levels
    return said(monitor.post(json.dumps([event]).encode().replace(b'"HERE"', nested)))


def long_event(monitor: Strained, length: int, name: str) -> str:
    event = failed_run("quiet", f"{name}-{length}")
    event["data"][name] = "x" * (length - SPACE)
    return said(monitor.report([event]))


def many(monitor: Strained, number: int) -> str:
    return said(monitor.report([failed_run("quiet", f"many-{number}-{n}") for n in range(number)]))


def fill(monitor: Strained) -> str:
    """A log of long events: what readers ask for afterwards."""
    answers = Counter(
        said(monitor.report([failed_run("long", f"{first}-{n}", message="x" * LONG) for n in range(10)]))
        for first in range(LONG_EVENTS // 10)
    )
    return counted(answers)


def page(monitor: Strained, path: str, **asked: Any) -> str:
    answer = monitor.client.get(path, params=asked)
    return f"{answer.status_code}, {len(answer.content) / MIB:.1f} MiB"


def feeds(monitor: Strained, number: int, query: bytes = b"") -> str:
    """So many feeds at once, none of which is read further than its status."""
    return opened(monitor, number, b"GET /events" + query + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")


def spools(monitor: Strained) -> str:
    """Names of spools, each a line of the sum that /metrics shows."""
    for number in range(SPOOLS):
        monitor.post(b"[]", **{"windsock-spool": f"name=s{number};waiting=1;oldest=1;refused=0;failed=0"})
    return page(monitor, "/metrics")


def globs(monitor: Strained) -> str:
    pattern = ("*a" * MAX_NAME)[:GLOB]
    params = "&".join(f"dag_id={pattern}{number}" for number in range(MAX_GLOBS))
    return raw(monitor, f"GET /api/v1/events?{params} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())


def trials() -> Iterator[Trial]:
    def plain(surface: str, sends: str, act: Callable[[Strained], str]) -> Trial:
        return Trial(surface, sends, lambda stage: act(stage.plain))

    yield plain("batch", f"{MAX_BODY // MIB} MiB", lambda m: sized(m, MAX_BODY))
    yield plain("batch", f"{MAX_BODY // MIB} MiB and 1 byte", lambda m: sized(m, MAX_BODY + 1))
    yield plain("events of a batch", f"{MAX_BATCH}", lambda m: many(m, MAX_BATCH))
    yield plain("events of a batch", f"{MAX_BATCH + 1}", lambda m: many(m, MAX_BATCH + 1))
    yield plain("values of a batch", f"{MAX_VALUES - 100:,}", lambda m: values(m, MAX_VALUES - 100))
    yield plain("values of a batch", "2,000,000", lambda m: values(m, 2_000_000))
    yield plain("an event", f"{MAX_EVENT // 1024} KiB", lambda m: long_event(m, MAX_EVENT, "message"))
    yield plain("an event", "3 MiB", lambda m: long_event(m, 3 * MIB, "message"))
    yield plain("undeclared field", "256 KiB", lambda m: long_event(m, MAX_EVENT, "sth"))
    yield plain("depth", f"{MAX_DEPTH - 2} levels", lambda m: deep(m, MAX_DEPTH - 3))
    yield plain("depth", "100,000 levels", lambda m: deep(m, 100_000))
    yield plain("log", f"{LONG_EVENTS} events of {LONG // 1024} KiB", fill)
    yield plain(
        "page of the API", f"{MAX_PAGE} of those", lambda m: page(m, "/api/v1/events", limit=MAX_PAGE)
    )
    yield plain("page", f"{MAX_PAGE} of those", lambda m: page(m, "/events/list", limit=MAX_PAGE))
    yield plain("filter", f"{MAX_GLOBS} patterns of {GLOB}", globs)
    yield plain(
        "feeds' replay", "20 feeds of those, not read", lambda m: feeds(m, 20, b"?since=2020-01-01T00:00:00Z")
    )
    yield plain("feeds in all", "1,000", lambda m: feeds(m, 1_000))
    yield plain("feeds in all", "1,050", lambda m: feeds(m, 1_050))
    yield plain("/metrics", f"{SPOOLS:,} names of spools", spools)
